"""The rate limiter's events on disk, in RUN/parts/rate_limit.jsonl, shared by all workers of a run.

A worker locks the file, folds the events of the other workers into its state, decides, and appends its own events.
So two processes never use the same place in a quota window. The file is not fsynced: it must survive a killed process,
but after a power cut every window has passed anyway. Damaged events are skipped (see `core.journal`).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from insurance_rag.core.journal import Journal, strip_checksum
from insurance_rag.rate_limit.events import Event, parse_event
from insurance_rag.rate_limit.state import RateLimitState

log = logging.getLogger(__name__)


class RateLimitLog:
    """The shared events and the state that is folded from them. `with log.locked() as state:` is one transaction."""

    def __init__(self, path: Path, state: RateLimitState) -> None:
        """Open or create the log. Raises IncompleteError if it cannot be written."""
        self.state = state
        self._journal = Journal(path, append=True, shared=True)

    def close(self) -> None:
        """Close the file."""
        self._journal.close()

    @contextlib.contextmanager
    def locked(self) -> Iterator[RateLimitState]:
        """Lock the log and yield the state with the events of all workers.

        Raises IncompleteError if the log cannot be read or repaired.
        """
        fcntl.flock(self._journal.fileno(), fcntl.LOCK_EX)
        try:
            self._journal.drop_torn_tail()  # its writer was killed; no other process writes while this one has the lock
            _fold_new_events(self._journal, self.state)
            yield self.state
        finally:
            fcntl.flock(self._journal.fileno(), fcntl.LOCK_UN)

    def write(self, event: Event) -> None:
        """Append one event and fold it into the state. Call it only inside `locked`.

        Raises IncompleteError if the disk refuses.
        """
        self._journal.append_as_read(event.model_dump())
        self.state.apply(event)


def read_rate_limit_state(path: Path) -> RateLimitState:
    """Return the state after all events of the log, for reports. The log is not locked and not changed.

    Raises IncompleteError if the log exists and cannot be read.
    """
    state = RateLimitState()
    _fold_new_events(Journal(path), state)
    return state


def _fold_new_events(journal: Journal, state: RateLimitState) -> None:
    for offset, line in journal.read_new_lines():
        try:
            event = parse_event(strip_checksum(line))
        except ValidationError:
            log.warning("%s: skipped the unknown event at byte %d; another version wrote it", journal.path, offset)
            continue
        state.apply(event)
