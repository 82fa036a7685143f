"""The journal of a run: what the teacher answered for each chunk, in RUN/parts/journal/.

Each shard has one append-only file, written by the process that holds the shard's lock. Answers are looked up by cache
key in all files of the folder, so that a new plan finds the answers of an old one.

    {"cache_key": "<64 hex>", "state": "answered", "chunk_id": ..., "pairs": [...], ..., "crc32": "..."}
    {"cache_key": "<64 hex>", "state": "repairable", ..., "faults": [...], "crc32": "..."}
    {"cache_key": "<64 hex>", "state": "quarantined", "chunk_id": ..., "reason": "blocked", ..., "crc32": "..."}

A repairable answer has faulty pairs that the teacher is asked for once more. If a key has several records, the best
state counts (answered, then repairable, then quarantined); of records with the same state, the last one.

Damaged records are skipped (see `core.journal`): their chunks are missing and get requested again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import ValidationError

from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.journal import Journal, encode_record, is_intact, strip_checksum
from insurance_rag.core.records.generation import AnswerRecord, QuarantinedChunk

ChunkState = Literal["answered", "repairable", "quarantined"]
ChunkRecord = AnswerRecord | QuarantinedChunk

_STATES: tuple[ChunkState, ...] = ("quarantined", "repairable", "answered")  # the better one later
_RANKS = {state[:1].encode(): rank for rank, state in enumerate(_STATES)}  # the first letter identifies the state

# The cache key and the state have fixed positions, so that opening a journal does not parse JSON.
_BEFORE_KEY = b'{"cache_key": "'
_BEFORE_STATE = b'", "state": "'
_KEY = slice(len(_BEFORE_KEY), len(_BEFORE_KEY) + 64)
_SEPARATOR = slice(_KEY.stop, _KEY.stop + len(_BEFORE_STATE))
_STATE_LETTER = slice(_SEPARATOR.stop, _SEPARATOR.stop + 1)


class GenerationJournal:
    """Index of all journal files of a folder. It maps a cache key to the place of its record; records stay on disk."""

    def __init__(self, folder: Path, shard: int | None = None) -> None:
        """Open the journals of `folder` to read. With `shard`, open that shard's file for `append` as well.

        The caller must hold the lock of `shard`. A torn last line of its file is removed.
        Raises IncompleteError if a file cannot be read or written.
        """
        self.folder = folder
        self._places: dict[str, tuple[int, int]] = {}  # cache key -> (number of the file, byte offset)
        self._not_answered: dict[str, int] = {}  # rank of the state of each key that is not simply answered
        own_path = folder / f"shard_{shard}.jsonl" if shard else None
        self._own = Journal(own_path, append=True) if own_path else None
        self._paths = sorted(folder.glob("*.jsonl"))
        self._own_number = self._paths.index(own_path) if own_path else -1
        for number, path in enumerate(self._paths):
            self._read_index(number, path)

    def __enter__(self) -> GenerationJournal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._own.close()

    def __contains__(self, cache_key: str) -> bool:
        """Return whether the key needs no first request: it is answered, repairable or quarantined."""
        return cache_key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def state(self, cache_key: str) -> ChunkState | None:
        """Return the best state that was recorded for the key; None if there is no record."""
        if cache_key not in self._places:
            return None
        return _STATES[self._not_answered.get(cache_key, len(_STATES) - 1)]

    def is_quarantined(self, cache_key: str) -> bool:
        """Return whether no run requests this chunk again."""
        return self.state(cache_key) == "quarantined"

    def is_repairable(self, cache_key: str) -> bool:
        """Return whether the answer has faulty pairs that were not requested again yet."""
        return self.state(cache_key) == "repairable"

    def record(self, cache_key: str) -> ChunkRecord:
        """Return the record of a key. Raises KeyError if there is none, otherwise errors like `answers`."""
        return next(self._records([cache_key]))

    def answer(self, cache_key: str) -> AnswerRecord:
        """Return the answer of a key. Raises KeyError if it is missing or quarantined, otherwise like `answers`."""
        return next(self.answers([cache_key]))

    def answers(self, cache_keys: Iterable[str]) -> Iterator[AnswerRecord]:
        """Yield the answers of `cache_keys` in their order. Opens each file at most once.

        Raises KeyError for a key without an answer, IncompleteError if a record was damaged after the journal was
        opened, and InvalidInputError if another version of the program wrote it.
        """
        cache_keys = list(cache_keys)
        for cache_key, record in zip(cache_keys, self._records(cache_keys), strict=True):
            if not isinstance(record, AnswerRecord):
                raise KeyError(cache_key)
            yield record

    def append(self, cache_key: str, record: ChunkRecord) -> None:
        """Write one record; its state follows from its content (see `state_of`).

        A kill does not lose the record; a power cut may until `sync`. Raises IncompleteError if the disk refuses;
        nothing torn is left behind.
        """
        assert self._own is not None, "the journal was opened to read"
        state = state_of(record)
        offset = self._own.append(_as_fields(cache_key, record))
        self._enter(cache_key, _STATES.index(state), self._own_number, offset)

    def sync(self) -> None:
        """Wait until every record is on disk; callable from a thread. Raises IncompleteError if the disk refuses."""
        assert self._own is not None, "the journal was opened to read"
        self._own.sync()

    def _read_index(self, number: int, path: Path) -> None:
        for offset, line in Journal(path).read_new_lines():
            rank = _RANKS.get(line[_STATE_LETTER])
            if rank is not None and line.startswith(_BEFORE_KEY) and line[_SEPARATOR] == _BEFORE_STATE:
                self._enter(line[_KEY].decode("ascii", "replace"), rank, number, offset)

    def _enter(self, cache_key: str, rank: int, number: int, offset: int) -> None:
        answered = len(_STATES) - 1
        if cache_key in self._places and rank < self._not_answered.get(cache_key, answered):
            return  # a record with a better state exists
        if rank < answered:
            self._not_answered[cache_key] = rank
        else:
            self._not_answered.pop(cache_key, None)
        self._places[cache_key] = (number, offset)

    def _records(self, cache_keys: list[str]) -> Iterator[ChunkRecord]:
        with contextlib.ExitStack() as stack:
            files: dict[int, BinaryIO] = {}
            for cache_key in cache_keys:
                number, offset = self._places[cache_key]
                if number not in files:
                    files[number] = stack.enter_context(self._paths[number].open("rb"))
                files[number].seek(offset)
                yield _parse(files[number].readline(), self._paths[number], offset)


def state_of(record: ChunkRecord) -> ChunkState:
    """Return the state of a chunk with this record: an answer with faults is repairable until it has a repair."""
    if isinstance(record, QuarantinedChunk):
        return "quarantined"
    return "repairable" if record.faults and record.repair is None else "answered"


def encode_chunk_record(cache_key: str, record: ChunkRecord) -> bytes:
    """Return the journal line of one record."""
    return encode_record(_as_fields(cache_key, record))


def _as_fields(cache_key: str, record: ChunkRecord) -> dict[str, object]:
    content = record.model_dump(mode="json", exclude_none=True)
    return {"cache_key": cache_key, "state": state_of(record), **content}


def _parse(line: bytes, path: Path, offset: int) -> ChunkRecord:
    if not is_intact(line):
        raise IncompleteError(
            f"{path}: the record at byte {offset} was damaged while the journal was open; run the same command again "
            "to request its chunk again"
        )
    kind = QuarantinedChunk if _RANKS.get(line[_STATE_LETTER]) == 0 else AnswerRecord
    try:
        return kind.model_validate_json(strip_checksum(line))
    except ValidationError as e:
        raise InvalidInputError(
            f"{path}: the record at byte {offset} has an unknown form ({e.error_count()} problems); another version "
            "wrote it: generate into a new run folder"
        ) from e
