"""The generation journal of a run. It stores the teacher's answers for each chunk in RUN/parts/journal/.

Each shard has one append-only file, written by the process that holds the shard's lock. Answers are looked up by cache
key in all files in the folder, so that a new plan finds answers that were generated under an old one.

    {"cache_key": "<64 hex>", "state": "answered", "chunk_id": ..., "pairs": [...], ..., "crc32": "..."}
    {"cache_key": "<64 hex>", "state": "repairable", ..., "faults": [...], "crc32": "..."}
    {"cache_key": "<64 hex>", "state": "quarantined", "chunk_id": ..., "reason": "blocked", ..., "crc32": "..."}

A repairable answer has faulty pairs that will be requested once more. If a cache key has several records, the one with
the best state counts: answered is better than repairable, and repairable is better than quarantined. Among records with
the same state, the last one counts.

Damaged records are skipped (see `core.journal`), so their chunks count as missing and are requested again. The process
that opens a shard's file for `append` also moves the damaged records of this file to FILE.damaged.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import ValidationError

from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import read_error
from insurance_rag.core.journal import Journal
from insurance_rag.core.journal_lines import encode_record, is_readable, strip_checksum
from insurance_rag.core.records.generation import AnswerRecord, QuarantinedChunk

ChunkState = Literal["answered", "repairable", "quarantined"]
ChunkRecord = AnswerRecord | QuarantinedChunk

REUSED_ANSWERS = "previous.jsonl"
"""Name of the journal file with the answers that were copied from earlier runs."""

_OFFSET_BITS = 48
"""Number of bits of a byte offset. One number per record takes a third of the memory of a pair of numbers."""
_STATES: tuple[ChunkState, ...] = ("quarantined", "repairable", "answered")  # from worst to best
_RANKS = {state[:1].encode(): rank for rank, state in enumerate(_STATES)}  # by the first letter of the state

# The cache key and the state have fixed positions in a line, so that opening a journal requires no JSON parsing.
_BEFORE_KEY = b'{"cache_key": "'
_BEFORE_STATE = b'", "state": "'
_KEY = slice(len(_BEFORE_KEY), len(_BEFORE_KEY) + 64)
_SEPARATOR = slice(_KEY.stop, _KEY.stop + len(_BEFORE_STATE))
_STATE_LETTER = slice(_SEPARATOR.stop, _SEPARATOR.stop + 1)


class DamagedRecordError(IncompleteError):
    """A record was damaged after the journal was opened. The next process skips it and requests its chunk again."""


class GenerationJournal:
    """Index of all journal files in a folder. It maps each cache key to the position of its record on disk."""

    def __init__(self, folder: Path, shard: int | None = None) -> None:
        """Index the journal files in `folder` for reading. If `shard` is given, also open its file for `append`.

        To open a shard's file, the caller must hold the shard's lock. An incomplete last line in this file is removed.
        Raises IncompleteError if a file cannot be read or written.
        """
        self.folder = folder
        # Cache key -> index of the file and byte offset, in one number (see `_file_and_offset`).
        self._places: dict[str, int] = {}
        self._not_answered: dict[str, int] = {}  # cache key -> rank in _STATES; no entry if answered
        self._reused = set[str]()  # cache keys of the records in REUSED_ANSWERS
        own_path = folder / shard_file(shard) if shard else None
        self._own = Journal(own_path, append=True) if own_path else None
        self._files: list[Journal] = []
        self.refresh()
        self._own_number = next((n for n, file in enumerate(self._files) if file.path == own_path), -1)

    def __enter__(self) -> GenerationJournal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._own.close()

    def __contains__(self, cache_key: str) -> bool:
        """Return whether the key has a record: answered, repairable or quarantined."""
        return cache_key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def state(self, cache_key: str) -> ChunkState | None:
        """Return the best state recorded for the key; None if there is no record."""
        if cache_key not in self._places:
            return None
        return _STATES[self._not_answered.get(cache_key, len(_STATES) - 1)]

    def is_quarantined(self, cache_key: str) -> bool:
        """Return whether the chunk is quarantined, so that this run does not request it again."""
        return self.state(cache_key) == "quarantined"

    def is_reused(self, cache_key: str) -> bool:
        """Return whether the chunk's first answer was copied from an earlier run. Its repair may be new."""
        return cache_key in self._reused

    def is_written_by(self, shard: int, cache_key: str) -> bool:
        """Return whether the key has a record, and a worker of this shard wrote it."""
        place = self._places.get(cache_key)
        return place is not None and self._files[_file_and_offset(place)[0]].path.name == shard_file(shard)

    def is_repairable(self, cache_key: str) -> bool:
        """Return whether the answer has faulty pairs that have not been requested again yet."""
        return self.state(cache_key) == "repairable"

    def repairable_keys(self) -> Iterator[str]:
        """Yield the cache keys of the repairable answers. Nothing may be appended meanwhile."""
        repairable = _STATES.index("repairable")
        return (cache_key for cache_key, rank in self._not_answered.items() if rank == repairable)

    def record(self, cache_key: str) -> ChunkRecord:
        """Return the record for a key. Raises KeyError if there is none. For other errors, see `answers`."""
        return next(self._records([cache_key]))

    def answer(self, cache_key: str) -> AnswerRecord:
        """Return the answer for a key. Raises the same errors as `answers`."""
        return next(self.answers([cache_key]))

    def answers(self, cache_keys: Iterable[str]) -> Iterator[AnswerRecord]:
        """Yield the answers for `cache_keys` in the given order. Opens each file at most once.

        Raises KeyError for a key without an answer, DamagedRecordError if a record was damaged after the journal was
        opened, IncompleteError if a file cannot be read, and InvalidInputError if another version of the program wrote
        the record.
        """
        cache_keys = list(cache_keys)
        for cache_key, record in zip(cache_keys, self._records(cache_keys), strict=True):
            if not isinstance(record, AnswerRecord):
                raise KeyError(cache_key)
            yield record

    def append(self, cache_key: str, record: ChunkRecord) -> None:
        """Append one record. Its state follows from its content (see `state_of`).

        The record survives if the process is killed, but may be lost in a power cut before the next `sync`. Raises
        IncompleteError if the record cannot be written; no incomplete line remains in the file.
        """
        assert self._own is not None, "the journal was opened to read"
        state = state_of(record)
        offset = self._own.append(_as_fields(cache_key, record))
        self._enter(cache_key, _STATES.index(state), self._own_number, offset)

    def sync(self) -> None:
        """Wait until every record is on disk. Any thread may call this. Raises IncompleteError if syncing fails."""
        assert self._own is not None, "the journal was opened to read"
        self._own.sync()

    def refresh(self) -> None:
        """Index the records that other workers have appended since the journal was opened or last refreshed."""
        known = {file.path for file in self._files}
        new = [path for path in _journal_paths(self.folder) if path not in known]
        own = self._own
        self._files += [own if own and path == own.path else Journal(path) for path in new]
        for number, file in enumerate(self._files):
            for offset, line in file.read_new_lines():
                rank = _RANKS.get(line[_STATE_LETTER])
                if rank is not None and line.startswith(_BEFORE_KEY) and line[_SEPARATOR] == _BEFORE_STATE:
                    cache_key = sys.intern(line[_KEY].decode("ascii", "replace"))  # the workers of a run share it
                    self._enter(cache_key, rank, number, offset)
                    if file.path.name == REUSED_ANSWERS:
                        self._reused.add(cache_key)

    def _enter(self, cache_key: str, rank: int, number: int, offset: int) -> None:
        answered = len(_STATES) - 1
        if cache_key in self._places and rank < self._not_answered.get(cache_key, answered):
            return  # a record with a better state exists
        if rank < answered:
            self._not_answered[cache_key] = rank
        else:
            self._not_answered.pop(cache_key, None)
        self._places[cache_key] = number << _OFFSET_BITS | offset

    def _records(self, cache_keys: list[str]) -> Iterator[ChunkRecord]:
        with contextlib.ExitStack() as stack:
            files: dict[int, BinaryIO] = {}
            for cache_key in cache_keys:
                number, offset = _file_and_offset(self._places[cache_key])
                if number not in files:
                    files[number] = stack.enter_context(_open_to_read(self._files[number].path))
                files[number].seek(offset)
                yield _parse(files[number].readline(), self._files[number].path, offset)


def _file_and_offset(place: int) -> tuple[int, int]:
    return divmod(place, 1 << _OFFSET_BITS)


def shard_file(shard: int) -> str:
    """Return the name of the journal file that the workers of a shard write."""
    return f"shard_{shard}.jsonl"


def _journal_paths(folder: Path) -> list[Path]:
    """Return the journal files. A folder that cannot be read is an error, because its answers would be paid again."""
    if location_of(folder):
        from insurance_rag.core.artifact_store.segments import discover_files

        discover_files(folder)
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".jsonl")
    except FileNotFoundError:
        return []
    except OSError as e:
        raise read_error(folder, e) from e


def _open_to_read(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as e:
        raise read_error(path, e) from e


def state_of(record: ChunkRecord) -> ChunkState:
    """Return the state that a record gives its chunk. An answer with faults is repairable until it has a repair."""
    if isinstance(record, QuarantinedChunk):
        return "quarantined"
    return "repairable" if record.faults and record.repair is None else "answered"


def encode_chunk_record(cache_key: str, record: ChunkRecord) -> bytes:
    """Return the journal line for one record."""
    return encode_record(_as_fields(cache_key, record))


def _as_fields(cache_key: str, record: ChunkRecord) -> dict[str, object]:
    content = record.model_dump(mode="json", exclude_none=True)
    return {"cache_key": cache_key, "state": state_of(record), **content}


def _parse(line: bytes, path: Path, offset: int) -> ChunkRecord:
    if not is_readable(line):
        raise DamagedRecordError(
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
