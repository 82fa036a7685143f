"""Ids of questions. An id depends on the content, so that the same question has the same id in every set."""

from __future__ import annotations

from collections.abc import Iterable

from insurance_rag.review.records import question_key

ID_DIGITS = 12


def question_id(question: str, gold_chunk_ids: Iterable[str]) -> str:
    """Return the id of a question: `q-` and the first digits of its review key."""
    return f"q-{question_key(question, gold_chunk_ids)[:ID_DIGITS]}"
