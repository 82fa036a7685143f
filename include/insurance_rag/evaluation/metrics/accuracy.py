"""Metrics for content that an answer must have."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.metrics.populations import has_required_numbers
from insurance_rag.evaluation.metrics.registry import metric


@metric(
    "number_accuracy",
    title="Required numbers stated",
    title_ko="필요한 숫자를 맞힘",
    description="Answers that state every required number, without other values of the same kind and without copying "
    "whole chunks, among questions with required numbers and a gold chunk in the context.",
    better="higher",
    population=has_required_numbers,
    compared=True,
    order=70,
)
def states_required_numbers(row: ScoredAnswer) -> bool:
    """Return whether the answer states all required numbers."""
    return bool(row.number_accuracy)
