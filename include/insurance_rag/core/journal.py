"""An append-only file of JSON records that survives kills, power cuts and damaged bytes.

Each line is one JSON object whose last field is a checksum of the bytes before it:

    {"key": "ab12", "state": "answered", "crc32": "0f3c9a77"}

A line is written with one `write` call. A line without its newline is torn: its writer was killed. The owner removes
it when the journal is opened for writing; a reader ignores it. A damaged line in the middle (wrong checksum, too long)
is reported once in the log and skipped; every other record stays readable.
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

from insurance_rag.core.errors import IncompleteError

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longer lines count as damaged, so that reading a broken file never needs more memory than this."""

_CHECKSUM = b', "crc32": "%08x"}\n'
_CHECKSUM_BYTES = len(_CHECKSUM % 0)


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Return `record` as one line with its checksum. `record` must not be empty."""
    body = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")[:-1]
    return body + _CHECKSUM % zlib.crc32(body)


def is_intact(line: bytes) -> bool:
    """Return whether `line`, newline included, carries the checksum of its content."""
    body = line[:-_CHECKSUM_BYTES]
    return line[-_CHECKSUM_BYTES:] == _CHECKSUM % zlib.crc32(body)


def decode_record(line: bytes) -> dict[str, Any]:
    """Return the record of an intact line, without the checksum."""
    record: dict[str, Any] = json.loads(line)
    del record["crc32"]
    return record


class Journal:
    """One journal file. Opened to read, or with `append=True` by the one process that may write it."""

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """Open `path`. With `append` the file is created if needed and a torn last line is removed.

        Raises IncompleteError if the file cannot be opened for writing.
        """
        self.path = path
        self._position = 0
        self._lines_read = 0
        self._file: BinaryIO | None = None
        if append:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("a+b", buffering=0)
                self._drop_torn_tail()
            except OSError as e:
                raise self._write_error(e) from e

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._file:
            self._file.close()

    def fileno(self) -> int:
        """Return the descriptor of the open file, for `flock`."""
        return self._writable().fileno()

    def append(self, record: Mapping[str, Any]) -> int:
        """Write one record and return its byte offset. A kill does not lose it; a power cut may until `sync`.

        Raises IncompleteError if the disk refuses; nothing torn is left behind.
        """
        file, line = self._writable(), encode_record(record)
        offset = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as e:
            with contextlib.suppress(OSError):
                file.truncate(offset)
            raise self._write_error(e) from e
        return offset

    def sync(self) -> None:
        """Wait until every record is on disk; safe to call from a thread. Raises IncompleteError if the disk refuses."""
        try:
            os.fsync(self._writable().fileno())
        except OSError as e:
            raise self._write_error(e) from e

    def read_new_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield (byte offset, line) of every intact line that was appended since the last call; the first reads all.

        Damaged lines are logged and skipped. A last line without its newline is left for a later call.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as f:
            f.seek(self._position)
            while (line := f.readline(MAX_LINE_BYTES)).endswith(b"\n") or len(line) == MAX_LINE_BYTES:
                offset, complete = self._position, line.endswith(b"\n")
                while not complete:  # too long: skip to its end without keeping it
                    rest = f.readline(MAX_LINE_BYTES)
                    complete = rest.endswith(b"\n") or not rest
                self._position = f.tell()
                self._lines_read += 1
                if len(line) < MAX_LINE_BYTES and is_intact(line):
                    yield offset, line
                else:
                    log.warning(
                        "%s: line %d is damaged and was skipped; what it held is done again",
                        self.path,
                        self._lines_read,
                    )

    def read_new(self) -> Iterator[dict[str, Any]]:
        """Yield every intact record that was appended since the last call; see `read_new_lines`."""
        for _, line in self.read_new_lines():
            yield decode_record(line)

    def _writable(self) -> BinaryIO:
        assert self._file is not None, "the journal was opened to read"
        return self._file

    def _drop_torn_tail(self) -> None:
        """Cut the file after its last newline."""
        file = self._writable()
        end = size = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)

    def _write_error(self, error: OSError) -> IncompleteError:
        return IncompleteError(
            f"{self.path}: cannot be written ({error.strerror}); free space or fix the permissions, then run the same "
            "command again"
        )
