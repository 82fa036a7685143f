"""Chooses the chunks that questions are about, so that documents or sections remain for training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from insurance_rag.chunks.sections import section_name
from insurance_rag.config.questions import QuestionsConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.korean import remove_whitespace

MIN_DOCUMENTS = 4
"""With fewer documents, sections are chosen. Validation holds out documents only if two others remain."""

Unit = Literal["document", "section"]
_NAMES: dict[Unit, Callable[[Chunk], str]] = {
    "document": lambda chunk: chunk.metadata.source,
    "section": section_name,
}


@dataclass(frozen=True)
class AskedChunks:
    """The chunks that questions may be about."""

    chunks: tuple[Chunk, ...]
    unit: Unit
    units: tuple[str, ...]
    """Names of the documents or sections that questions may be about."""
    others: tuple[str, ...]
    """Names of the documents or sections that no question is about."""


def choose_asked(
    chunks: Sequence[Chunk], config: QuestionsConfig, n: int, trained: Collection[str] = (), kept: Collection[str] = ()
) -> AskedChunks:
    """Choose whole documents or sections with at least `asked_share` of the chunks, and with text for `n` questions.

    Documents and sections with a chunk in `kept` (ids of gold chunks of questions that are kept) come first, those with
    a chunk in `trained` (ids of chunks in a dataset's training rows) last. Companies and policy types take turns.

    Raises InvalidInputError if all chunks together have too little text for `n` questions.
    """
    usable = usable_chunks(chunks, config)
    if n > (possible := len(usable) * config.max_per_chunk):
        raise InvalidInputError(
            f"{n} questions are too many: the file has {len(usable)} chunks of at least {config.min_characters} "
            f"characters with different texts, which is enough for {possible}; use --n {possible} or fewer, or add "
            "documents"
        )
    sources = {chunk.metadata.source for chunk in chunks}
    unit: Unit = "document" if len(sources) >= MIN_DOCUMENTS else "section"
    members: dict[str, list[Chunk]] = {}
    for chunk in usable:
        members.setdefault(_NAMES[unit](chunk), []).append(chunk)
    order = _in_turns(members, config.seed, trained, kept)
    least = n / config.max_per_chunk
    wanted = max(config.asked_share * len(usable), least)
    required = {_NAMES[unit](chunk) for chunk in chunks if chunk.chunk_id in kept}
    asked: list[str] = []
    size = 0
    for name in order:
        is_last = len(asked) == len(order) - 1 and config.asked_share < 1 and size >= least
        if name not in required and (size >= wanted or is_last):
            continue
        asked.append(name)
        size += len(members[name])
    found = tuple(chunk for chunk in usable if _NAMES[unit](chunk) in set(asked))
    return AskedChunks(found, unit, tuple(sorted(asked)), tuple(sorted(set(order) - set(asked))))


def usable_chunks(chunks: Sequence[Chunk], config: QuestionsConfig) -> list[Chunk]:
    """Return the chunks that are long enough. Of chunks of one document with the same text, only the first counts."""
    found: dict[tuple[str, str], Chunk] = {}
    for chunk in chunks:
        text = remove_whitespace(chunk.text)
        if len(text) >= config.min_characters:
            found.setdefault((chunk.metadata.source, text), chunk)
    return list(found.values())


def _in_turns(
    members: Mapping[str, Sequence[Chunk]], seed: int, trained: Collection[str], kept: Collection[str]
) -> list[str]:
    """Return the names of the units in the order in which they are asked about."""

    def preference(name: str) -> tuple[bool, bool]:
        ids = [chunk.chunk_id for chunk in members[name]]
        return not any(i in kept for i in ids), any(i in trained for i in ids)

    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(members, key=lambda name: (*preference(name), sha256_text(str(seed), name))):
        metadata = members[name][0].metadata
        groups.setdefault((metadata.company, metadata.policy_type), []).append(name)
    turns = [(place, name) for names in groups.values() for place, name in enumerate(names)]
    return [name for _, name in sorted(turns, key=lambda turn: (*preference(turn[1]), turn[0]))]


def spread(chunks: Sequence[Chunk], n: int, seed: int) -> list[Chunk]:
    """Return `n` of the chunks, in the order of the file, taken in turns from the documents and sections."""
    sections: dict[str, list[Chunk]] = {}
    for chunk in sorted(chunks, key=lambda chunk: sha256_text(str(seed), chunk.chunk_id)):
        sections.setdefault(section_name(chunk), []).append(chunk)
    places = {chunk.chunk_id: (place, name) for name, own in sections.items() for place, chunk in enumerate(own)}

    def turn(chunk: Chunk) -> tuple[float, str]:
        # The k-th of m chunks of a section comes at (k + 0.5) / m, so that large sections give more chunks.
        place, name = places[chunk.chunk_id]
        return (place + 0.5) / len(sections[name]), name

    order = sorted(chunks, key=turn)
    taken = {chunk.chunk_id for chunk in order[:n]}
    return [chunk for chunk in chunks if chunk.chunk_id in taken]
