"""Metrics for correct answers. They are the headline of every comparison."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.metrics.populations import answer_is_known, raw_answer_is_known
from insurance_rag.evaluation.metrics.registry import metric


@metric(
    "correct",
    title="Correct answer",
    title_ko="정답",
    description="Answers that say what the reference says, or that only refuse if no policy answers the question. The "
    "population is all unanswerable questions and the questions with a gold chunk in the context.",
    better="higher",
    population=answer_is_known,
    compared=True,
    order=5,
)
def is_correct(row: ScoredAnswer) -> bool:
    """Return whether the answer is correct."""
    return bool(row.correctness.correct)


@metric(
    "raw_correct",
    title="Correct before post-processing",
    title_ko="정답 (후처리 전)",
    description="Correct answers as generated, before post-processing, in the same population as `correct`.",
    better="higher",
    population=raw_answer_is_known,
    order=6,
)
def is_raw_correct(row: ScoredAnswer) -> bool:
    """Return whether the generated text is correct, before post-processing."""
    return bool(row.raw_correctness.correct)
