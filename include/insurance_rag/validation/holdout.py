"""Chooses what is held out because evaluation questions are about it: documents, sections or single chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from insurance_rag.chunks.sections import section_name
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk, HeldOut, HoldoutUnit

MIN_TRAINING_DOCUMENTS = 2
"""Minimum number of documents that must be left for training. With fewer, `auto` holds out sections."""

NAMES: dict[HoldoutUnit, Callable[[Chunk], str]] = {
    "document": lambda chunk: chunk.metadata.source,
    "section": section_name,
    "chunk": lambda chunk: chunk.chunk_id,
}
"""Unit -> function that returns the name of the unit that a chunk belongs to."""

_REMEDIES: dict[HoldoutUnit, str] = {
    "document": "ask about fewer documents, add documents, or set holdout=section",
    "section": "ask about fewer sections (특별약관, 관), add documents, or set holdout=chunk, a weaker split in which "
    "training sees the other articles of these sections",
    "chunk": "ask about fewer chunks, or add documents",
}


@dataclass(frozen=True)
class Holdout:
    """The chosen unit, and the names of the units that are held out."""

    unit: HoldoutUnit
    names: frozenset[str]
    total: int
    """Number of units, held out or not."""
    reason: str

    def holds_out(self, chunk: Chunk) -> bool:
        """Return whether the chunk belongs to a unit that is held out."""
        return NAMES[self.unit](chunk) in self.names

    @property
    def record(self) -> HeldOut:
        """What is held out, as reports and training manifests record it."""
        names = sorted(self.names)
        return HeldOut(
            documents=names if self.unit == "document" else [],
            sections=names if self.unit == "section" else [],
            chunks=names if self.unit == "chunk" else [],
        )

    def no_training_data(self, why: str) -> InvalidInputError:
        """Return the error for a split that leaves nothing to train on."""
        return InvalidInputError(f"evaluation questions: {why}, so no training data is left; {_REMEDIES[self.unit]}")


def choose_holdout(
    chunks: Sequence[Chunk], gold: Sequence[Chunk], setting: Literal["auto", "document", "section", "chunk"]
) -> Holdout:
    """Return what is held out because of the `gold` chunks, of which there is at least one.

    Raises InvalidInputError if nothing is left for training.
    """
    documents = _held_out(chunks, gold, "document")
    if setting != "auto":
        chosen = _held_out(chunks, gold, setting)
        reason = f"`holdout` is {setting}"
    elif (left := documents.total - len(documents.names)) >= MIN_TRAINING_DOCUMENTS:
        chosen, reason = documents, f"{left} other documents are left for training"
    else:
        chosen = _held_out(chunks, gold, "section")
        reason = f"holding out documents would leave {left} of {documents.total} for training"
        if left and all(chosen.holds_out(chunk) == documents.holds_out(chunk) for chunk in chunks):
            chosen, reason = documents, "every section of them has a gold chunk"
    if chosen.total == len(chosen.names):
        raise chosen.no_training_data(_all_are_held_out(chosen, documents))
    weaker = "; a weak split, because training sees the other articles of the same sections" * (chosen.unit == "chunk")
    counts = f"{len(chosen.names)} of {chosen.total} {chosen.unit}s are held out"
    return Holdout(chosen.unit, chosen.names, chosen.total, f"{counts}: {reason}{weaker}")


def _held_out(chunks: Sequence[Chunk], gold: Sequence[Chunk], unit: HoldoutUnit) -> Holdout:
    name = NAMES[unit]
    return Holdout(unit, frozenset(map(name, gold)), len(set(map(name, chunks))), "")


def _all_are_held_out(chosen: Holdout, documents: Holdout) -> str:
    where = "" if chosen.unit == "document" else f" in {_count(documents.total, 'document')}"
    if chosen.total == 1:
        return f"they are about the only {chosen.unit}{where}"
    return f"they are about all {_count(chosen.total, chosen.unit)}{where}"


def _count(n: int, unit: str) -> str:
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"
