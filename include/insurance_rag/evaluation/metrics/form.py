"""Metrics for cut and empty answers."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.metrics.registry import metric


@metric(
    "stop_cut",
    title="Cut by post-processing",
    title_ko="정지 문구에서 잘림",
    description="Answers that were cut at a stop string, a stop phrase or a foreign tail, among all answers.",
    better="lower",
    order=90,
)
def was_cut(row: ScoredAnswer) -> bool:
    """Return whether post-processing cut the end of the answer."""
    return row.stop_cut is not None


@metric(
    "empty",
    title="Empty answer",
    title_ko="빈 답",
    description="Empty answers, among all answers.",
    better="lower",
    order=100,
)
def is_empty(row: ScoredAnswer) -> bool:
    """Return whether the answer has no text."""
    return not row.answer
