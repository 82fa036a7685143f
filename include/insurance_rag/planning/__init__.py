"""Plan a run: assign chunks to API keys, and determine which chunks are already answered and which are missing."""

from __future__ import annotations

from insurance_rag.planning.keys import load_keys
from insurance_rag.planning.plan import Plan, make_plan, read_plan, write_plan
from insurance_rag.planning.redistribute import plan_redistributed
from insurance_rag.planning.reuse import reuse_answers
from insurance_rag.planning.work_items import missing_chunks

__all__ = [
    "Plan",
    "load_keys",
    "make_plan",
    "missing_chunks",
    "plan_redistributed",
    "read_plan",
    "reuse_answers",
    "write_plan",
]
