"""Choose a verifier's threshold on one half of the held-out chunks, and measure the verifier on the other half.

The chunks are divided by their hash. If one half did both, the verifier would look better than it is. Answers about the
same chunk are correlated, so each chunk is a cluster in the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Rate
from insurance_rag.core.stats import clustered_rate

TARGET_SPECIFICITY = 0.99
"""Fraction of the right answers that must not be flagged."""
MIN_TRUSTED_RECALL = 0.5
"""A verifier is not to be trusted with kinds of faults of which it finds less than this fraction."""


@dataclass(frozen=True)
class ScoredRow:
    """An answer to calibrate on."""

    chunk_id: str
    kind: str
    """Kind of fault."""
    supported: bool
    """Whether the answer is right."""
    score: float
    """Lowest score of a sentence."""


@dataclass(frozen=True)
class Measured:
    """A threshold, and how well the verifier works with it."""

    threshold: float
    right_answers_for_threshold: int
    specificity: Rate
    recall: Rate
    recall_by_kind: dict[str, Rate]

    @property
    def untrusted(self) -> list[str]:
        """Return the kinds of faults that are found too rarely."""
        rates = self.recall_by_kind.items()
        return [kind for kind, rate in rates if rate.rate is not None and rate.rate < MIN_TRUSTED_RECALL]


def threshold_half(chunk_ids: Iterable[str]) -> frozenset[str]:
    """Return the chunks whose answers choose the threshold: every second one, in the order of their hashes."""
    ordered = sorted(set(chunk_ids), key=lambda chunk_id: sha256_text("verifier", chunk_id))
    return frozenset(ordered[::2])


def choose_threshold(right_scores: Sequence[float], specificity: float = TARGET_SPECIFICITY) -> float:
    """Return the largest threshold at which at most 1 - `specificity` of the right answers have a lower score.

    >>> choose_threshold([3.0, 1.0, 2.0, 4.0], 0.75), choose_threshold([3.0, 1.0, 2.0, 4.0], 0.9)
    (2.0, 1.0)
    """
    allowed = math.floor((1 - specificity) * len(right_scores) + 1e-9)
    return sorted(right_scores)[min(allowed, len(right_scores) - 1)]


def measure(rows: Sequence[ScoredRow], specificity: float = TARGET_SPECIFICITY) -> Measured:
    """Choose the threshold on one half of the chunks and measure specificity and recall on the other half.

    Raises InvalidInputError if one of the halves has no right answer.
    """
    chosen_on = threshold_half(row.chunk_id for row in rows)
    right = [row.score for row in rows if row.supported and row.chunk_id in chosen_on]
    measured = [row for row in rows if row.chunk_id not in chosen_on]
    if not right or not any(row.supported for row in measured):
        raise InvalidInputError(
            f"the held-out answers are about {len({row.chunk_id for row in rows})} chunks, and half of them have no "
            "right answer that can be scored; hold out more documents: run `insurance-rag validate` with questions "
            "about more of them"
        )
    threshold = choose_threshold(right, specificity)
    wrong = [row for row in measured if not row.supported]
    kinds = sorted({row.kind for row in wrong})
    return Measured(
        threshold=threshold,
        right_answers_for_threshold=len(right),
        specificity=_rate([row for row in measured if row.supported], threshold, flagged=False),
        recall=_rate(wrong, threshold, flagged=True),
        recall_by_kind={
            kind: _rate([row for row in wrong if row.kind == kind], threshold, flagged=True) for kind in kinds
        },
    )


def _rate(rows: Sequence[ScoredRow], threshold: float, *, flagged: bool) -> Rate:
    """Return the fraction of the rows that are flagged, or that are not."""
    return clustered_rate([(row.score < threshold) == flagged for row in rows], [row.chunk_id for row in rows])
