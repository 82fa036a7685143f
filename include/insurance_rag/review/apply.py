"""Looks up the decisions about the rows of a dataset while the dataset is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from insurance_rag.review.records import Decision, row_key
from insurance_rag.review.store import ReviewStore


@dataclass(frozen=True)
class RowReviews:
    """The decisions about rows. Worker processes receive a copy."""

    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """The decisions that apply, by row key."""
    records: int = 0
    """Number of records in the journal when it was read."""

    def decision(self, question: str, answer: str, chunk_text: str) -> Decision | None:
        """Return the decision about the row with this content; None if there is none."""
        return self.decisions.get(row_key(question, answer, chunk_text)) if self.decisions else None


NO_REVIEWS = RowReviews()


def read_row_reviews(folder: Path | None) -> RowReviews:
    """Return the decisions in the review folder; none if there is no folder."""
    if folder is None:
        return NO_REVIEWS
    store = ReviewStore(folder, "row")
    decisions = store.decisions()
    return RowReviews(decisions, store.records)
