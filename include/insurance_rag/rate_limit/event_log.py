"""The pace's events on disk, shared by all workers of a run: RUN/parts/rate_limit.jsonl.

Append-only; a worker locks the file, folds what others wrote, decides, and appends, so that two processes never take
the same place in a window. Not fsynced: it must outlive a killed process, not a power cut, after which every window
has passed anyway.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from insurance_rag.core.errors import IncompleteError
from insurance_rag.rate_limit.state import Event, RateLimitState


class RateLimitLog:
    """`with log.locked() as pace:` is one transaction on the shared state."""

    def __init__(self, path: Path, pace: RateLimitState) -> None:
        self.pace = pace
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._read = 0

    def close(self) -> None:
        os.close(self._fd)

    @contextlib.contextmanager
    def locked(self) -> Iterator[RateLimitState]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            self._catch_up()
            yield self.pace
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def write(self, event: Event) -> None:
        """Append and fold one event; only inside `locked`."""
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        try:
            os.write(self._fd, line)
        except OSError as e:
            raise IncompleteError(
                f"{self._path}: cannot be written ({e.strerror}); make room, then run this again"
            ) from e
        self._read += len(line)
        self.pace.apply(event)

    def _catch_up(self) -> None:
        size = os.fstat(self._fd).st_size
        if size == self._read:
            return
        data = os.pread(self._fd, size - self._read, self._read)
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # its writer was killed within the line; nobody else writes while we hold the lock
            os.ftruncate(self._fd, self._read + whole)
        for line in data[:whole].splitlines():
            self.pace.apply(json.loads(line))
        self._read += whole


def read_rate_limit_state(path: Path) -> RateLimitState:
    """The state as of now, to look at."""
    pace = RateLimitState()
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                pace.apply(json.loads(line))
    return pace
