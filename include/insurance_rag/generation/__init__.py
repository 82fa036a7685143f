"""Generation: question-answer pairs of every chunk, at the speed of the quota, and nothing lost."""

from __future__ import annotations

from insurance_rag.generation.parts import write_open_parts
from insurance_rag.generation.run import generate_run
from insurance_rag.generation.worker import generate_shard
from insurance_rag.planning.work_items import missing_chunks

__all__ = ["generate_run", "generate_shard", "missing_chunks", "write_open_parts"]
