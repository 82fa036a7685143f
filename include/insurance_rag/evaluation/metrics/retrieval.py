"""Metrics for the context that a model was given."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.metrics.populations import has_gold_chunks
from insurance_rag.evaluation.metrics.registry import metric


@metric(
    "retrieval_miss",
    title="Retrieval miss",
    title_ko="검색 실패",
    description="Contexts without a gold chunk, among questions that have gold chunks.",
    better="lower",
    population=has_gold_chunks,
    order=80,
)
def lacks_gold_chunk(row: ScoredAnswer) -> bool:
    """Return whether the context has no gold chunk."""
    return not row.gold_in_context
