"""Populations that several metrics share."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer


def gold_in_context(row: ScoredAnswer) -> bool:
    """Select answerable questions with a gold chunk in the context: only there a refusal is wrong."""
    return row.answerable and bool(row.gold_in_context)


def unanswerable(row: ScoredAnswer) -> bool:
    """Select questions that the policies do not answer."""
    return not row.answerable


def has_gold_chunks(row: ScoredAnswer) -> bool:
    """Select questions for which the gold chunks are known."""
    return row.gold_in_context is not None


def has_required_numbers(row: ScoredAnswer) -> bool:
    """Select answers that must state numbers, with a gold chunk in the context."""
    return row.number_accuracy is not None
