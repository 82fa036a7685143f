"""An append-only file of JSON records that survives kills, power failures and damaged bytes.

Each line is one JSON object with a checksum (see `journal_lines`). A line is written with a single `write` call. If the
writer is killed during the call, the last line is incomplete ("torn"): it has no newline. Readers ignore a torn line,
and the next writer removes it. A complete line that is damaged (wrong checksum, or too long) is logged and skipped;
all other records remain readable. The next writer copies damaged lines to FILE.damaged and overwrites them with spaces,
so that all offsets remain valid.

In an object store, a journal consists of segments (see `artifact_store.segments`). The file in the mirror then has the
same content as on a local disk, `sync` puts new records into the store, and records of a shared journal are there when
`append` returns.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.files import read_error, write_error
from insurance_rag.core.journal_lines import decode_record, encode_record, is_readable

if TYPE_CHECKING:
    from insurance_rag.core.artifact_store.segments import SegmentedFile

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Maximum length of a line. Longer lines count as damaged, so reading a broken file needs only limited memory."""
DAMAGED_SUFFIX = ".damaged"
"""Suffix of the file next to a journal to which damaged lines are copied."""

_TAIL_BLOCK_BYTES = 4096
_COPY_BLOCK_BYTES = 1024 * 1024
_reported = set[tuple[str, int]]()
"""Path and offset of each damaged line that this process has logged."""


class Journal:
    """One journal file. Open it for reading, or with `append=True` for reading and writing.

    By default, a single process writes the file. With `shared=True`, several processes may write it, and each must be
    in a `with journal.locked()` block while it calls `read_new` or `append`.
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
        self._shared = shared
        self._file: BinaryIO | None = None
        self._segments = _segments_of(path)
        if append:
            if self._segments and not shared:
                self._segments.pull(keep_tail=True)
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
        """Close the file if it was opened for writing. Raises IncompleteError if the object store cannot be written."""
        if not self._file:
            return
        in_error = sys.exc_info()[0] is not None
        self._file.close()
        if self._segments is None:
            return
        try:
            if not self._shared:
                self._segments.push()
            self._segments.compact()
        except PipelineError as e:
            if not in_error:
                raise
            log.warning("%s", e)  # the error that ended the work matters more

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock a shared journal for other processes of this machine, and see what other machines have written.

        An incomplete line of a killed process is removed. Raises IncompleteError if the file cannot be changed.
        """
        file = self._writable()
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        try:
            if self._segments:
                self._segments.pull(keep_tail=True)
            self.drop_torn_tail()
            yield
        finally:
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)

    def append(self, record: Mapping[str, object]) -> int:
        """Write one record and return its byte offset; see `append_all`."""
        return self.append_all([record])

    def append_all(self, records: Sequence[Mapping[str, object]]) -> int:
        """Write some records in one piece and return the byte offset of the first.

        The records survive if this process is killed. They survive a power failure, or the loss of the machine, only
        after a call of `sync`. Raises IncompleteError if the write fails; no partial line is left behind. In a shared
        journal in an object store, raises LogChangedError, which is an IncompleteError, if another machine has written
        since `locked` was entered; nothing is written then.
        """
        file, line = self._writable(), b"".join(map(encode_record, records))
        offset = file.seek(0, os.SEEK_END)
        if self._segments and self._shared:
            self._segments.append(line)
            return offset
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
        """Wait until every written record is on disk, or in the object store. Any thread may call this.

        Raises IncompleteError if the disk or the object store reports an error.
        """
        if self._segments:
            if not self._shared:
                self._segments.push()
            return
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
        if self._segments and not self._file:
            from insurance_rag.core.artifact_store.segments import pull_to_read

            pull_to_read(self._segments)
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


def _segments_of(path: Path) -> SegmentedFile | None:
    """Return the segments of a journal in an object store, or None for a local path."""
    if location_of(path) is None:
        return None
    from insurance_rag.core.artifact_store.segments import SegmentedFile

    return SegmentedFile.at(path)


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
