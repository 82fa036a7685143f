"""Prepare the differences between two editions for the report: which words were inserted and deleted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from insurance_rag.core.records import Chunk
from insurance_rag.core.records.ingest import EditionChanges

MAX_DETAILS = 300
"""Number of changes that the page shows with their text."""
_WORDS = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True)
class Span:
    """Words of a changed text."""

    kind: Literal["same", "inserted", "deleted"]
    text: str


@dataclass(frozen=True)
class ShownChange:
    """One added, changed, moved or removed chunk."""

    kind: Literal["added", "changed", "moved", "removed"]
    place: str
    """Headings of the chunk."""
    old: str
    """Chunk id in the previous edition; empty if there is none."""
    new: str
    similarity: float | None
    spans: tuple[Span, ...]


def shown_changes(changes: EditionChanges, old: Sequence[Chunk], new: Sequence[Chunk]) -> list[ShownChange]:
    """Return the changes in the order changed, added, removed, moved."""
    before, after = {c.chunk_id: c for c in old}, {c.chunk_id: c for c in new}
    shown = [
        ShownChange("changed", _place(after[c.new]), c.old, c.new, c.similarity, _spans(before[c.old], after[c.new]))
        for c in changes.changed[:MAX_DETAILS]
    ]
    shown += [
        ShownChange("added", _place(after[i]), "", i, None, (Span("inserted", after[i].text),)) for i in changes.added
    ]
    shown += [
        ShownChange("removed", _place(before[i]), i, "", None, (Span("deleted", before[i].text),))
        for i in changes.removed
    ]
    shown += [ShownChange("moved", _place(after[m.new]), m.old, m.new, None, ()) for m in changes.moved]
    return shown[:MAX_DETAILS]


def _place(chunk: Chunk) -> str:
    return chunk.metadata.breadcrumbs


def _spans(old: Chunk, new: Chunk) -> tuple[Span, ...]:
    """Return the new text with the words that were inserted and deleted."""
    a, b = _WORDS.findall(old.text), _WORDS.findall(new.text)
    spans: list[Span] = []
    for kind, a1, a2, b1, b2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            spans.append(Span("same", "".join(b[b1:b2])))
            continue
        spans += [Span("deleted", "".join(a[a1:a2]))] if a2 > a1 else []
        spans += [Span("inserted", "".join(b[b1:b2]))] if b2 > b1 else []
    return tuple(spans)
