"""Shards: which API key answers for which chunks."""

from __future__ import annotations

from insurance_rag.shards.keys import load_keys
from insurance_rag.shards.plan import Plan, make_plan, plan_leftover, read_plan

__all__ = ["Plan", "load_keys", "make_plan", "plan_leftover", "read_plan"]
