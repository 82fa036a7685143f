"""Counts the decisions about the items of a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import Field

from insurance_rag.core.records.data import Record
from insurance_rag.review.records import ReviewItem
from insurance_rag.review.store import ItemState


class ReviewProgress(Record):
    """How far the review of a set is."""

    items: int
    approved: int = 0
    edited: int = 0
    rejected: int = 0
    undecided: int = 0
    reviewers: dict[str, int] = Field(default_factory=dict, description="reviewer -> items with a decision by them")


def count_decisions(items: Iterable[ReviewItem], states: Mapping[str, ItemState]) -> ReviewProgress:
    """Return the number of items per decision and per reviewer."""
    actions: Counter[str] = Counter()
    reviewers: Counter[str] = Counter()
    for item in items:
        decision = states.get(item.key, ItemState()).decision
        actions[decision.action if decision else "undecided"] += 1
        if decision:
            reviewers[decision.reviewer] += 1
    return ReviewProgress(
        items=actions.total(),
        approved=actions["approve"],
        edited=actions["edit"],
        rejected=actions["reject"],
        undecided=actions["undecided"],
        reviewers=dict(reviewers.most_common()),
    )
