"""Compare two versions of the chunks, so that a refresh requests answers only for new and changed chunks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from insurance_rag.core.records import Chunk


@dataclass(frozen=True)
class ChunkDiff:
    """Result of comparing two versions of the chunks, as lists of chunk ids."""

    added: list[str]
    changed: list[str]
    """Ids of chunks that are in both versions with different text."""
    removed: list[str]
    unchanged: list[str]


def diff_chunks(old: Iterable[Chunk], new: Iterable[Chunk]) -> ChunkDiff:
    """Return which chunks were added, changed, removed or left unchanged between `old` and `new`."""
    before = {chunk.chunk_id: chunk.text for chunk in old}
    after = {chunk.chunk_id: chunk.text for chunk in new}
    kept = [i for i in after if i in before]
    return ChunkDiff(
        added=[i for i in after if i not in before],
        changed=[i for i in kept if after[i] != before[i]],
        removed=[i for i in before if i not in after],
        unchanged=[i for i in kept if after[i] == before[i]],
    )
