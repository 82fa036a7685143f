"""Populations of answers that metrics share. A population is a predicate that selects answers."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer


def gold_in_context(row: ScoredAnswer) -> bool:
    """Return whether a gold chunk in the context answers the question. If so, a refusal is wrong."""
    return row.answerable and bool(row.gold_in_context)


def unanswerable(row: ScoredAnswer) -> bool:
    """Return whether no policy answers the question."""
    return not row.answerable


def has_gold_chunks(row: ScoredAnswer) -> bool:
    """Return whether the question has gold chunks."""
    return row.gold_in_context is not None


def has_required_numbers(row: ScoredAnswer) -> bool:
    """Return whether the question requires numbers and a gold chunk is in the context."""
    return row.number_accuracy is not None


def answer_is_known(row: ScoredAnswer) -> bool:
    """Return whether it is known what the model should have answered, and whether the answer could be judged.

    If the retriever missed the gold chunks of an answerable question, the right answer may be a refusal.
    """
    return _known(row) and row.correctness.correct is not None


def raw_answer_is_known(row: ScoredAnswer) -> bool:
    """Like `answer_is_known`, for the text before post-processing."""
    return _known(row) and row.raw_correctness.correct is not None


def _known(row: ScoredAnswer) -> bool:
    return unanswerable(row) or gold_in_context(row)
