"""Shards: which API key answers for which chunks, what is answered, and when the next call may go out."""

from __future__ import annotations

from insurance_rag.shards.jobs import missing_chunks
from insurance_rag.shards.keys import load_keys
from insurance_rag.shards.leftover import plan_leftover
from insurance_rag.shards.plan import Plan, make_plan, read_plan, write_plan
from insurance_rag.shards.refresh import take_over

__all__ = ["Plan", "load_keys", "make_plan", "missing_chunks", "plan_leftover", "read_plan", "take_over", "write_plan"]
