"""Keeps append-only files in an object store, as segments that are written once and never changed.

The object FILE.segments/00000000000000001234 holds the bytes of FILE from offset 1234 on. A segment is created only if
no object has this key, so of two writers that append at the same place one succeeds, and the other one learns that the
file has grown. A reader that has read up to some offset asks for the segment with this offset; it needs no list, so a
list that lags behind hides nothing. The object FILE.segments/compacted holds the beginning of the file in one piece,
for readers that start from nothing. Segments that it covers remain, because others may be reading them.

On the local disk, FILE is an ordinary file in the mirror, and FILE.segments/position says up to which offset it equals
the segments. What follows was appended here and is not in the store yet.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from insurance_rag.core.artifact_store.bucket import Bucket, bucket_of, in_parallel
from insurance_rag.core.artifact_store.leases import check_leases
from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import IncompleteError, LogChangedError
from insurance_rag.core.journal_lines import is_readable

SUFFIX = ".segments"
"""Suffix of the folder with the segments of a file, in the store and on the local disk."""
COMPACTED = "compacted"
MAX_SEGMENT_BYTES = 32 * 1024 * 1024
COMPACT_AFTER = 4
"""Number of new segments from which on a file is copied into one object."""
PULL_INTERVAL_S = 1.0
"""A process that only reads looks for new segments of a file at most this often."""
DISCOVERY_INTERVAL_S = 5.0

_pulled: dict[str, float] = {}
"""Local path -> time of the last look for new segments."""
_discovered: dict[str, float] = {}


class SegmentedFile:
    """One append-only file in the mirror. Its methods may be called from several threads and processes."""

    def __init__(self, path: Path, bucket: Bucket, key: str) -> None:
        self.path, self._bucket = path, bucket
        self._prefix = f"{key}{SUFFIX}/"
        self._folder = path.with_name(path.name + SUFFIX)
        self._thread_lock = threading.Lock()
        self._segments = 0  # read or written by this process since the last compaction

    @classmethod
    def at(cls, path: Path) -> SegmentedFile | None:
        """Return the segmented file at `path`, or None if the path is not in the mirror of an object store."""
        location = location_of(path)
        return cls(path, bucket_of(location), location.key) if location else None

    def pull(self, *, keep_tail: bool = False) -> None:
        """Append the segments of other writers to the local file.

        With `keep_tail`, the caller is the writer of the file: complete lines that a killed process appended, but did
        not put into the store, are kept behind those segments. Otherwise a file with such lines is left as it is,
        because a process on this machine is writing them.
        """
        with self._locked() as state:
            position, size = _read_position(state), self.path.stat().st_size if self.path.exists() else 0
            if size < position:  # the scratch folder has lost bytes
                position = size = 0
                self.path.unlink(missing_ok=True)
            if size > position and not keep_tail:
                return
            tail = _read_from(self.path, position) if size > position else b""
            new = b"".join(self._new_segments(position))
            if not new and not tail:
                return
            self._append_behind(position, new, tail)
            _write_position(state, position + len(new))

    def push(self) -> None:
        """Put all complete lines that are not in the store yet into new segments.

        Raises IncompleteError if another process has written to the file, so that this one must have lost its lock.
        """
        with self._locked() as state:
            position = _read_position(state)
            data = _read_from(self.path, position)
            data = data[: data.rfind(b"\n") + 1]
            while data:
                block = data[:MAX_SEGMENT_BYTES]
                block = block[: block.rfind(b"\n") + 1] or data
                if not self._create(position, block):
                    raise IncompleteError(
                        f"{self._bucket.uri(self._prefix.rstrip('/'))}: another process is writing this file; stop it, "
                        "or wait until it ends, then run the same command again"
                    )
                position, data = position + len(block), data[len(block) :]
                _write_position(state, position)

    def append(self, data: bytes) -> None:
        """Put `data` into the store as the next segment, then append it to the local file.

        The local file must have no other bytes that are not in the store. Raises LogChangedError if another machine
        has appended meanwhile.
        """
        with self._locked() as state:
            position = _read_position(state)
            if not self._create(position, data):
                raise LogChangedError(
                    f"{self._bucket.uri(self._prefix.rstrip('/'))}: another process wrote at the same moment; run the "
                    "same command again"
                )
            with self.path.open("ab", buffering=0) as f:
                f.write(data)
            _write_position(state, position + len(data))

    def compact(self) -> None:
        """Copy the file into one object, if this process has read or written several segments.

        Damaged lines are never copied, so the file must be readable as a whole.
        """
        if self._segments < COMPACT_AFTER:
            return
        with self._locked() as state:
            position = _read_position(state)
            data = _read_from(self.path, 0)[:position]
            if len(data) < position or not _all_readable(data):
                return
            key = self._prefix + COMPACTED
            before = self._bucket.head(key)
            if before is None:
                self._bucket.create(key, data)
            elif before.size < position:
                self._bucket.replace(key, data, before.etag)
            self._segments = 0

    def _create(self, position: int, data: bytes) -> bool:
        check_leases()
        created = self._bucket.create(self._key(position), data) is not None
        self._segments += created
        return created

    def _key(self, position: int) -> str:
        return f"{self._prefix}{position:020d}"

    def _new_segments(self, position: int) -> Iterator[bytes]:
        """Yield the bytes of the file in the store from `position` on."""
        if position == 0:
            if compacted := self._bucket.get(self._prefix + COMPACTED):
                position = len(compacted.data)
                yield compacted.data
            for data in self._listed_segments(position):
                position += len(data)
                yield data
        while found := self._bucket.get(self._key(position)):
            self._segments += 1
            position += len(found.data)
            yield found.data

    def _listed_segments(self, position: int) -> Iterator[bytes]:
        """Yield the segments behind `position` that the list shows without a gap. Several are read at a time."""
        after = self._key(position - 1) if position else None
        listed = {
            int(name): info.key
            for info in self._bucket.list_all(self._prefix.rstrip("/"), after)
            if (name := info.key.rpartition("/")[2]).isdecimal() and int(name) >= position
        }
        starts = sorted(listed)
        for first in range(0, len(starts), 64):
            block = starts[first : first + 64]
            for start, found in zip(block, in_parallel(lambda n: self._bucket.get(listed[n]), block), strict=True):
                if start != position or found is None:
                    return
                self._segments += 1
                position += len(found.data)
                yield found.data

    def _append_behind(self, position: int, new: bytes, tail: bytes) -> None:
        """Make the local file equal to the segments, followed by the lines in `tail` that are not among them."""
        if tail.startswith(new):
            return  # the process was killed before it could note that the segments are its own
        rest = b"" if new.startswith(tail) else tail[: tail.rfind(b"\n") + 1]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as f:
            f.truncate(position)
            f.write(new + rest)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the local lock of the file, and yield the descriptor of the file with the position."""
        with self._thread_lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            state = os.open(self._folder / "position", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(state, fcntl.LOCK_EX)
                yield state
            finally:
                os.close(state)


def pull_to_read(file: SegmentedFile) -> None:
    """Pull the segments of other writers, unless this process did so less than PULL_INTERVAL_S ago."""
    now, path = time.monotonic(), str(file.path)
    if now - _pulled.get(path, float("-inf")) >= PULL_INTERVAL_S:
        file.pull()
        _pulled[path] = time.monotonic()


def pull_again(folder: Path) -> None:
    """Make the next reader of the files in `folder` look for new segments without waiting."""
    for path in [path for path in _pulled if Path(path).parent == folder]:
        del _pulled[path]
    _discovered.pop(str(folder), None)


def discover_files(folder: Path) -> None:
    """Make the segmented files that the store has in `folder` appear in the local folder, still empty."""
    location, now = location_of(folder), time.monotonic()
    if location is None or now - _discovered.get(str(folder), float("-inf")) < DISCOVERY_INTERVAL_S:
        return
    _discovered[str(folder)] = now
    for key in bucket_of(location).list_folder(location.key).folders:
        if key.endswith(SUFFIX):
            path = folder / key.rpartition("/")[2].removesuffix(SUFFIX)
            path.with_name(path.name + SUFFIX).mkdir(parents=True, exist_ok=True)
            path.touch()


def is_segmented(path: Path) -> bool:
    """Return whether a local file in the mirror is kept in segments."""
    return path.with_name(path.name + SUFFIX).is_dir()


def _read_position(state: int) -> int:
    text = os.pread(state, 20, 0)
    return int(text) if text.isdigit() and len(text) == 20 else 0


def _write_position(state: int, position: int) -> None:
    os.pwrite(state, b"%020d" % position, 0)


def _read_from(path: Path, position: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as f:
        f.seek(position)
        return f.read()


def _all_readable(data: bytes) -> bool:
    return all(is_readable(line) for line in data.splitlines(keepends=True))
