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
