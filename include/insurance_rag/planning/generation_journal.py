"""The ledger: which contents are answered, one fsynced JSON line each in RUN/parts/journal/.

Append-only, one file a shard, written by the one process that holds the shard's lock; looked up by content key across
all files, so that a new plan finds the answers of an old one. A torn last line (kill -9, power cut) is dropped on open.

    {"key": "<64 hex>", "state": "answered", "chunk_id": ..., "pairs": [...], "usage": {...}, "model": ..., "at": ...}
    {"key": "<64 hex>", "state": "repairable", ..., "faults": [...]}    answered, and to be asked again once
    {"key": "<64 hex>", "state": "quarantined", "chunk_id": ..., "reason": "blocked", "detail": ...}

Of several records of one key the best state counts (answered, repairable, quarantined), of one state the last.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from insurance_rag.core.errors import IncompleteError

_HEAD = b'{"key": "'
_STATE = b'", "state": "'
_KEY = slice(len(_HEAD), len(_HEAD) + 64)
_STATE_AT = slice(_KEY.stop, _KEY.stop + len(_STATE))
_ANSWERED, _MENDABLE, _QUARANTINED = b"a", b"r", b"q"  # the first letter of the state decides
_RANK = {_MENDABLE: 1, _QUARANTINED: 0}


class GenerationJournal:
    """The index of all journals of a folder: content key -> where its record lies. Records stay on disk (memory)."""

    def __init__(self, folder: Path, shard: int | None = None) -> None:
        """Opens to read; with `shard` also to append to that shard's journal, which the caller must have locked."""
        self.folder = folder
        self._at: dict[str, tuple[int, int]] = {}
        self._unsettled: dict[str, bytes] = {}  # state of the keys that are not simply answered
        self._files: list[Path] = []
        self._own: int | None = None
        own_path = folder / f"shard_{shard}.jsonl" if shard else None
        if own_path:
            _drop_torn_tail(own_path)
        for path in sorted(folder.glob("*.jsonl")):
            if path == own_path:
                self._own = len(self._files)
            self._files.append(path)
            self._read_index(path)
        self._append = own_path.open("ab", buffering=0) if own_path else None

    def __enter__(self) -> GenerationJournal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._append:
            self._append.close()

    def __contains__(self, key: str) -> bool:
        return key in self._at

    def __len__(self) -> int:
        return len(self._at)

    def is_quarantined(self, key: str) -> bool:
        return self._unsettled.get(key) == _QUARANTINED

    def is_repairable(self, key: str) -> bool:
        return self._unsettled.get(key) == _MENDABLE

    def record(self, key: str) -> dict[str, Any]:
        """The record of `key`; KeyError where there is none."""
        number, offset = self._at[key]
        with self._files[number].open("rb") as f:
            f.seek(offset)
            record: dict[str, Any] = json.loads(f.readline())
        return record

    def records(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        """The records of `keys` in their order, each file opened once."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._files]
            for key in keys:
                number, offset = self._at[key]
                files[number].seek(offset)
                yield json.loads(files[number].readline())

    def append(self, key: str, state: str, **fields: Any) -> None:
        """Write one record: a kill does not lose it from here on, a power cut not once `sync` has returned.

        IncompleteError where the disk refuses; nothing torn is left.
        """
        assert self._append is not None and self._own is not None, "opened to read"
        line = json.dumps({"key": key, "state": state, **fields}, ensure_ascii=False).encode() + b"\n"
        offset = self._append.seek(0, os.SEEK_END)
        try:
            if self._append.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as e:
            with contextlib.suppress(OSError):
                self._append.truncate(offset)
            raise self._refused(e) from e
        self._enter(key, state.encode()[:1], self._own, offset)

    def sync(self) -> None:
        """Wait until every record is on disk; may be called from a thread."""
        assert self._append is not None, "opened to read"
        try:
            os.fsync(self._append.fileno())
        except OSError as e:
            raise self._refused(e) from e

    def _refused(self, error: OSError) -> IncompleteError:
        where = f"{self.folder}: cannot be written ({error.strerror})"
        return IncompleteError(f"{where}; free space, then the same command resumes")

    def _read_index(self, path: Path) -> None:
        number, offset = len(self._files) - 1, 0
        with path.open("rb") as f:
            for line in f:
                # A line without its end is torn, or another shard is writing it just now.
                if line.startswith(_HEAD) and line[_STATE_AT] == _STATE and line.endswith(b"}\n"):
                    self._enter(line[_KEY].decode("ascii", "replace"), line[_STATE_AT.stop :][:1], number, offset)
                offset += len(line)

    def _enter(self, key: str, state: bytes, number: int, offset: int) -> None:
        if key in self._at and _rank(state) < _rank(self._unsettled.get(key, _ANSWERED)):
            return  # a better record stands
        if state in _RANK:
            self._unsettled[key] = state
        else:
            self._unsettled.pop(key, None)
        self._at[key] = (number, offset)


def _rank(state: bytes) -> int:
    return _RANK.get(state, 2)


def _drop_torn_tail(path: Path) -> None:
    """Cut the journal behind its last newline; makes the file where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as f:
        end = size = f.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            f.seek(start)
            newline = f.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            f.truncate(end)
