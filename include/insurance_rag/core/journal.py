"""An append-only file of JSON records that survives kills, power failures and damaged bytes.

Each line is one JSON object, and the last field of the object is a checksum of the bytes before that field:

    {"key": "ab12", "state": "answered", "crc32": "0f3c9a77"}

A line is written with a single `write` call. If the writer is killed during the call, the last line is incomplete
("torn"): it has no newline. Readers ignore a torn line, and the next writer removes it. A complete line that is damaged
(wrong checksum, or too long) is logged once and skipped; all other records remain readable. The next writer copies
damaged lines to FILE.damaged and overwrites them with spaces, so that all offsets remain valid.

Lines of older versions have no checksum. They are read if they contain a JSON object. A damaged line never passes for
such a line: its checksum field would have to be gone without a trace, and the rest would still have to be valid JSON.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from insurance_rag.core.files import read_error, write_error

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Maximum length of a line. Longer lines count as damaged, so reading a broken file needs only limited memory."""
DAMAGED_SUFFIX = ".damaged"
"""Suffix of the file next to a journal to which damaged lines are copied."""

_CHECKSUM = b', "crc32": "%08x"}\n'
_CHECKSUM_BYTES = len(_CHECKSUM % 0)
_BEFORE_VALUE, _AFTER_VALUE = _CHECKSUM.split(b"%08x")
_MIN_CHECKSUM_MATCHES = len(_BEFORE_VALUE + _AFTER_VALUE) - 5
_TAIL_BLOCK_BYTES = 4096
_COPY_BLOCK_BYTES = 1024 * 1024
_to_json = json.JSONEncoder(ensure_ascii=False).encode
_reported = set[tuple[str, int]]()
"""Path and offset of each damaged line that this process has logged."""


def encode_record(record: Mapping[str, object]) -> bytes:
    """Return `record` as one line with its checksum. `record` must not be empty."""
    body = _to_json(record).encode("utf-8", "replace")[:-1]
    return body + _CHECKSUM % zlib.crc32(body)


def is_intact(line: bytes) -> bool:
    """Return whether `line`, which includes the newline, ends with the correct checksum."""
    body = line[:-_CHECKSUM_BYTES]
    return line[-_CHECKSUM_BYTES:] == _CHECKSUM % zlib.crc32(body)


def is_readable(line: bytes) -> bool:
    """Return whether `line` is intact, or holds a JSON object that an older version wrote without a checksum."""
    if is_intact(line):
        return True
    tail = line[-_CHECKSUM_BYTES:]
    frame = tail[: len(_BEFORE_VALUE)] + tail[-len(_AFTER_VALUE) :]
    matches = sum(found == byte for found, byte in zip(frame, _BEFORE_VALUE + _AFTER_VALUE, strict=False))
    if matches >= _MIN_CHECKSUM_MATCHES:  # the line has a checksum, and the line or its checksum is damaged
        return False
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and bool(record)


def strip_checksum(line: bytes) -> bytes:
    """Return the JSON object in a readable line, without its checksum field."""
    start = len(line) - _CHECKSUM_BYTES
    return line[:start] + b"}" if line.startswith(_BEFORE_VALUE, max(0, start)) else line


def decode_record(line: bytes) -> dict[str, Any]:
    """Return the record in a readable line, without its checksum field."""
    record: dict[str, Any] = json.loads(strip_checksum(line))
    return record


class Journal:
    """One journal file. Open it for reading, or with `append=True` for reading and writing.

    By default, a single process writes the file. With `shared=True`, several processes may write it, and each must hold
    an exclusive `flock` on `fileno()` while it calls `drop_torn_tail`, `read_new` or `append`.
    """

    def __init__(self, path: Path, *, append: bool = False, shared: bool = False) -> None:
        """Open `path`. With `append`, create the file if it does not exist.

        With `append` but without `shared`, an incomplete last line is removed. Raises IncompleteError if the file
        cannot be opened for writing.
        """
        self.path = path
        self.damaged = 0
        """Number of damaged lines that were read, including those that a writer has overwritten with spaces."""
        self._position = 0
        self._lines_read = 0
        self._file: BinaryIO | None = None
        if append:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("a+b", buffering=0)
            except OSError as e:
                raise write_error(self.path, e) from e
            if not shared:
                self.drop_torn_tail()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file if it was opened for writing."""
        if self._file:
            self._file.close()

    def fileno(self) -> int:
        """Return the descriptor of the open file, for `flock`."""
        return self._writable().fileno()

    def append(self, record: Mapping[str, object]) -> int:
        """Write one record and return its byte offset.

        The record survives if this process is killed. It survives a power failure only after a call of `sync`.
        Raises IncompleteError if the write fails; no partial line is left behind.
        """
        file, line = self._writable(), encode_record(record)
        offset = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as e:
            with contextlib.suppress(OSError):
                file.truncate(offset)
            raise write_error(self.path, e) from e
        return offset

    def append_as_read(self, record: Mapping[str, object]) -> int:
        """Write one record and return its byte offset. `read_new` skips this record, because the caller already has it.

        All earlier records must have been read. In a shared file, read them while holding the lock, and keep the lock
        for this call. Raises IncompleteError if the write fails.
        """
        offset = self.append(record)
        assert offset == self._position, f"{self.path}: read the new records before appending this one"
        self._position = self._writable().tell()
        self._lines_read += 1
        return offset

    def sync(self) -> None:
        """Wait until every written record is on disk. Any thread may call this.

        Raises IncompleteError if the disk reports an error.
        """
        try:
            os.fsync(self._writable().fileno())
        except OSError as e:
            raise write_error(self.path, e) from e

    def read_new_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield (byte offset, line) for every readable line appended since the last call.

        The first call reads the whole file. Lines that this object appended are included. Damaged lines are logged,
        counted in `damaged` and skipped. If the file was opened for writing, they are also moved to FILE.damaged. An
        incomplete last line is left for a later call. Raises IncompleteError if the file exists but cannot be read.
        """
        if not self._has_new_bytes():
            return
        with self._open_to_read() as f:
            f.seek(self._position)
            while (line := f.readline(MAX_LINE_BYTES)).endswith(b"\n") or len(line) == MAX_LINE_BYTES:
                offset, complete = self._position, line.endswith(b"\n")
                self._position += len(line)
                while not complete:  # too long: skip the rest of the line
                    rest = f.readline(MAX_LINE_BYTES)
                    complete = rest.endswith(b"\n") or not rest
                    self._position += len(rest)
                self._lines_read += 1
                if len(line) < MAX_LINE_BYTES and is_readable(line):
                    yield offset, line
                else:
                    self.damaged += 1
                    if not line.isspace():
                        self._report_damage(offset, self._position - offset)

    def read_new(self) -> Iterator[dict[str, Any]]:
        """Yield every readable record appended since the last call; see `read_new_lines`."""
        for _, line in self.read_new_lines():
            yield decode_record(line)

    def drop_torn_tail(self) -> None:
        """Remove an incomplete last line. Only the process that is currently allowed to write the file may call this.

        Raises IncompleteError if the file cannot be changed.
        """
        file = self._writable()
        try:
            end = size = file.seek(0, os.SEEK_END)
            if size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n":
                return
            while end > 0:
                start = max(0, end - _TAIL_BLOCK_BYTES)
                newline = os.pread(file.fileno(), end - start, start).rfind(b"\n")
                if newline >= 0:
                    end = start + newline + 1
                    break
                end = start
            if end < size:
                file.truncate(end)
        except OSError as e:
            raise write_error(self.path, e) from e

    def _report_damage(self, offset: int, length: int) -> None:
        """Log a damaged line. If the file was opened for writing, also move the line to FILE.damaged."""
        kept = ""
        if self._file:
            with contextlib.suppress(OSError):  # a later writer then moves the line
                copy = self.path.with_name(self.path.name + DAMAGED_SUFFIX)
                _move_bytes(self.path, offset, length, copy)
                kept = f" (a copy is in {copy})"
        place = (str(self.path), offset)
        if place not in _reported:
            _reported.add(place)
            log.warning(
                "%s: line %d is damaged and was skipped%s; the work that it recorded will be repeated",
                self.path,
                self._lines_read,
                kept,
            )

    def _has_new_bytes(self) -> bool:
        """Return whether the file has bytes that have not been read yet."""
        try:
            size = (os.fstat(self._file.fileno()) if self._file else self.path.stat()).st_size
        except FileNotFoundError:
            return False
        except OSError as e:
            raise read_error(self.path, e) from e
        # The file can shrink: if the last newline is damaged, the last line looks torn, and the next writer removes it.
        self._position = min(self._position, size)
        return size > self._position

    def _open_to_read(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as e:
            raise read_error(self.path, e) from e

    def _writable(self) -> BinaryIO:
        assert self._file is not None, "the journal was opened for reading only"
        return self._file


def _move_bytes(path: Path, offset: int, length: int, copy: Path) -> None:
    """Append a line of `path`, given by its place, to the file `copy`. Then overwrite the line with spaces."""
    with path.open("r+b", buffering=0) as f:
        f.seek(offset + length - 1)
        n = length - (f.read(1) == b"\n")
        f.seek(offset)
        with copy.open("ab") as out:
            for start in range(0, n, _COPY_BLOCK_BYTES):
                out.write(f.read(min(_COPY_BLOCK_BYTES, n - start)))
            out.write(b"\n")
            out.flush()
            os.fsync(out.fileno())
        f.seek(offset)
        for start in range(0, n, _COPY_BLOCK_BYTES):
            f.write(b" " * min(_COPY_BLOCK_BYTES, n - start))
