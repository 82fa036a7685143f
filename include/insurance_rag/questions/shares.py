"""Turns the planned shares of the kinds into numbers of questions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from insurance_rag.config.questions import QuestionShares
from insurance_rag.core.records.questions import QUESTION_KINDS, QuestionKind


def planned_counts(shares: QuestionShares, n: int) -> dict[QuestionKind, int]:
    """Return how many of `n` questions are planned for each kind, rounded with the largest remainder method.

    >>> planned_counts(QuestionShares(), 200)
    {'fact': 60, 'scenario': 44, 'easy': 40, 'two_chunk': 6, 'near_miss': 34, 'far': 16}
    """
    exact = {kind: share * n / _total(shares) for kind, share in _by_kind(shares).items()}
    counts = {kind: math.floor(value + 1e-9) for kind, value in exact.items()}
    by_remainder = sorted(QUESTION_KINDS, key=lambda kind: counts[kind] - exact[kind])
    for kind in by_remainder[: n - sum(counts.values())]:
        counts[kind] += 1
    return counts


def _by_kind(shares: QuestionShares) -> dict[QuestionKind, float]:
    return {kind: getattr(shares, kind) for kind in QUESTION_KINDS}


def _total(shares: QuestionShares) -> float:
    return sum(_by_kind(shares).values())


def missing_counts(planned: Mapping[QuestionKind, int], kept: Mapping[QuestionKind, int]) -> dict[QuestionKind, int]:
    """Return how many questions of each kind are still to be made."""
    return {kind: max(0, n - kept.get(kind, 0)) for kind, n in planned.items()}
