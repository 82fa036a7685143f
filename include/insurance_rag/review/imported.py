"""A line of a file with decisions, as both file formats return it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from insurance_rag.review.records import ReviewAction

ACTIONS: tuple[ReviewAction, ...] = get_args(ReviewAction)


@dataclass(frozen=True)
class ImportedLine:
    """What one line of a file says about one item."""

    number: int
    """Number of the line, from 1. For a CSV file, this is the number of the row, as a spreadsheet shows it."""
    key: str = ""
    version: int = 0
    action: ReviewAction | None = None
    """None if the line has no decision."""
    reason: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts of the editable fields, by field."""
    problem: str = ""
    """Why the line cannot be read; empty if it can."""


def parse_line(
    number: int, key: object, version: object, action: object, reason: object, texts: Mapping[str, str]
) -> ImportedLine:
    """Return the line with these values. If one of them is invalid, the line has a `problem`."""
    word = str(action or "").strip().lower()
    if not isinstance(key, str) or not key.strip():
        return ImportedLine(number, problem="has no key; export the items again")
    try:
        seen = int(str(version).strip() or "0")
    except ValueError:
        return ImportedLine(number, problem=f"version {version!r} is not a number; export the items again")
    decided = next((known for known in ACTIONS if known == word), None)
    if word and decided is None:
        text = f"unknown action {word!r}; use {', '.join(ACTIONS)}, or leave it empty"
        return ImportedLine(number, key.strip(), problem=text)
    return ImportedLine(number, key.strip(), seen, decided, str(reason or ""), texts)
