"""Metrics for false, missed and partial refusals."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.metrics.populations import gold_in_context, unanswerable
from insurance_rag.evaluation.metrics.registry import metric


@metric(
    "false_refusal",
    title="False refusal",
    title_ko="잘못된 거절",
    description="Full refusals, among answerable questions with a gold chunk in the context.",
    better="lower",
    population=gold_in_context,
    compared=True,
    order=40,
)
def is_full_refusal(row: ScoredAnswer) -> bool:
    """Return whether the answer is only a refusal."""
    return row.refusal == "full"


@metric(
    "missed_refusal",
    title="Missed refusal",
    title_ko="놓친 거절",
    description="Answers that assert something, with or without a refusal, among unanswerable questions. Empty answers "
    "are not counted.",
    better="lower",
    population=unanswerable,
    compared=True,
    order=50,
)
def asserts_something(row: ScoredAnswer) -> bool:
    """Return whether the answer has text and does more than refuse.

    A partial refusal also counts, unless its correctness shows that it asserts nothing. Otherwise, a model could add a
    refusal to every answer and never miss one.
    """
    partial = row.refusal == "partial" and not row.correctness.correct
    return bool(row.answer) and (row.refusal == "none" or partial)


@metric(
    "partial_refusal",
    title="Partial refusal",
    title_ko="일부 거절",
    description="Answers that contain a refusal and other content, among all answers.",
    better="lower",
    order=60,
)
def is_partial_refusal(row: ScoredAnswer) -> bool:
    """Return whether the answer contains both a refusal and other content."""
    return row.refusal == "partial"
