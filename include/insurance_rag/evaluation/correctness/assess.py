"""Decide whether one answer is correct."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from insurance_rag.core.records import Correctness, CorrectnessProblem, CorrectnessProblemKind
from insurance_rag.evaluation.correctness.citation import find_wrong_articles
from insurance_rag.evaluation.correctness.conditions import find_wrong_conditions
from insurance_rag.evaluation.correctness.content import agreement, find_wrong_content
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.focus import (
    find_degenerate_text,
    find_lack_of_focus,
    find_questions_and_repeats,
)
from insurance_rag.evaluation.correctness.numbers import (
    find_contradicting_numbers,
    find_listed_numbers,
    find_missing_numbers,
    find_replaced_numbers,
    find_wrong_bounds,
)
from insurance_rag.evaluation.correctness.payments import find_reversed_payments
from insurance_rag.evaluation.correctness.polarity import find_wrong_polarity
from insurance_rag.evaluation.correctness.replaced import find_replaced_terms
from insurance_rag.evaluation.correctness.roles import find_swapped_roles
from insurance_rag.evaluation.correctness.swaps import find_swaps
from insurance_rag.korean import refusal

MAX_CHARACTERS = 4_000
"""A longer answer is wrong without a further look. It takes the place of reading the policy."""

FINDERS: tuple[Callable[[str, Expected], Iterator[CorrectnessProblem]], ...] = (
    find_missing_numbers,
    find_contradicting_numbers,
    find_listed_numbers,
    find_replaced_numbers,
    find_wrong_bounds,
    find_wrong_polarity,
    find_wrong_conditions,
    find_wrong_articles,
    find_swapped_roles,
    find_reversed_payments,
    find_swaps,
    find_wrong_content,
    find_replaced_terms,
    find_lack_of_focus,
    find_questions_and_repeats,
    find_degenerate_text,
)


def assess(answer: str, expected: Expected) -> Correctness:
    """Return whether the answer is correct, and everything that is wrong with it."""
    if expected.answerable and not expected.reference:
        return Correctness(correct=None, cannot_judge="the question has no reference answer")
    if not answer.strip():
        return _wrong("empty")
    if len(answer) > MAX_CHARACTERS:
        return _wrong("focus", f"{len(answer):,} > {MAX_CHARACTERS:,}")
    level = refusal(answer)
    if not expected.answerable:
        return Correctness(correct=True) if level == "full" else _wrong("missed_refusal")
    if level == "full":
        return _wrong("refusal")
    problems = [problem for find in FINDERS for problem in find(answer, expected)]
    agrees = round(agreement(answer, expected), 4)
    return Correctness(correct=not problems, problems=tuple(problems), agreement=agrees)


def _wrong(kind: CorrectnessProblemKind, text: str = "") -> Correctness:
    return Correctness(correct=False, problems=(CorrectnessProblem(kind=kind, text=text),))
