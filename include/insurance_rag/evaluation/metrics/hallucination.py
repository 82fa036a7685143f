"""Metrics for hallucinated and otherwise faulty answers."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.metrics.populations import gold_in_context
from insurance_rag.evaluation.metrics.registry import metric


@metric(
    "hallucination",
    title="Hallucination",
    title_ko="환각",
    description="Answers with a finding that counts as hallucination, among all answers.",
    better="lower",
    compared=True,
    order=10,
)
def is_hallucinated(row: ScoredAnswer) -> bool:
    """Return whether a check found a hallucination in the answer."""
    return row.hallucinated


@metric(
    "raw_hallucination",
    title="Hallucination before post-processing",
    title_ko="환각 (후처리 전)",
    description="Answers with a finding that counts as hallucination before post-processing, among all answers.",
    better="lower",
    order=20,
)
def is_raw_hallucinated(row: ScoredAnswer) -> bool:
    """Return whether a check found a hallucination in the generated text, before post-processing."""
    return row.raw_hallucinated


@metric(
    "faulty",
    title="Faulty answer",
    title_ko="잘못된 답",
    description="Hallucinated answers, empty answers and false refusals, among all answers. "
    "A model cannot lower this rate by saying nothing.",
    better="lower",
    compared=True,
    order=30,
)
def is_faulty(row: ScoredAnswer) -> bool:
    """Return whether the answer is hallucinated, is empty, or refuses although a gold chunk is in the context."""
    return row.hallucinated or not row.answer or (gold_in_context(row) and row.refusal == "full")
