"""What changed between two versions of the clauses, by content: the basis of a refresh that pays for news alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from insurance_rag.core.records import Chunk


@dataclass(frozen=True)
class ChunkDiff:
    """Chunk ids of each kind; `changed` kept its id and has a new text."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]


def diff_chunks(old: Iterable[Chunk], new: Iterable[Chunk]) -> ChunkDiff:
    before = {chunk.chunk_id: chunk.text for chunk in old}
    after = {chunk.chunk_id: chunk.text for chunk in new}
    kept = [i for i in after if i in before]
    return ChunkDiff(
        added=[i for i in after if i not in before],
        changed=[i for i in kept if after[i] != before[i]],
        removed=[i for i in before if i not in after],
        unchanged=[i for i in kept if after[i] == before[i]],
    )
