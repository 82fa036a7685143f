"""The rate limiter's event log, RUN/parts/rate_limit.jsonl, which all workers in a run share.

Before a call, a worker locks the file and applies the other workers' events to its state. If the call may be sent, the
worker appends an event before it unlocks the file. Two processes therefore never use the same slot in a quota window.

In an object store, no lock holds between machines. The log then consists of objects that are created only if they do
not exist. A worker reads the new events, decides, and creates the object behind the last one. If another machine was
faster, `write` raises LogChangedError, and the worker decides again.

The file is not fsynced. Events survive if a process is killed. A power cut may lose the newest events, but their
quota window has passed when the machine runs again. A damaged event is skipped (see `core.journal`), and counts as a
call of every pool, because it may have recorded one.

The clocks of two workers may differ, for example if the system clock was set to another time between their starts. A
worker reads the log many times per quota window, so it knows between which two times of its own clock an event was
written. If the event's time is not between them, the time of reading counts instead.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from insurance_rag.core.errors import LogChangedError
from insurance_rag.core.journal import Journal
from insurance_rag.core.journal_lines import strip_checksum
from insurance_rag.rate_limit.clock import steady_clock
from insurance_rag.rate_limit.events import Event, parse_event
from insurance_rag.rate_limit.state import RateLimitState

log = logging.getLogger(__name__)


class RateLimitLog:
    """The shared log and the state computed from its events. Each `with log.locked() as state:` is one transaction."""

    def __init__(self, path: Path, state: RateLimitState, clock: Callable[[], float] | None = None) -> None:
        """Open or create the log. Raises IncompleteError if it cannot be written. `clock` returns Unix timestamps."""
        self.state = state
        self._clock = clock or steady_clock()
        self._read_at: float | None = None  # time of the last look into the log
        self._journal = Journal(path, append=True, shared=True)

    def close(self) -> None:
        """Close the file."""
        self._journal.close()

    @contextlib.contextmanager
    def locked(self) -> Iterator[RateLimitState]:
        """Lock the log and yield the state, which then includes the events from all workers.

        Raises IncompleteError if the log cannot be read or repaired.
        """
        with self._journal.locked():
            now = self._clock()
            looks = None if self._read_at is None else (self._read_at, now)
            _fold_new_events(self._journal, self.state, looks)
            self._read_at = now
            yield self.state

    def write(self, event: Event) -> None:
        """Append one event and apply it to the state. Call this method only while the log is locked.

        Raises IncompleteError if the event cannot be written, and its subclass LogChangedError if the log is in an
        object store and another machine has written since it was locked.
        """
        self._journal.append_as_read(event.model_dump())
        self.state.apply(event)

    def transact(self, decide: Callable[[RateLimitState], Event | None]) -> None:
        """Lock the log, and append the event that `decide` returns for the state, if it returns one.

        If another machine writes at the same moment, decide again.
        """
        while True:
            with contextlib.suppress(LogChangedError), self.locked() as state:
                if event := decide(state):
                    self.write(event)
                return


def read_rate_limit_state(path: Path) -> RateLimitState:
    """Return the state after all events in the log, without locking or changing the file.

    Raises IncompleteError if the log exists but cannot be read.
    """
    state = RateLimitState()
    _fold_new_events(Journal(path), state)
    return state


def _fold_new_events(journal: Journal, state: RateLimitState, looks: tuple[float, float] | None = None) -> None:
    """Apply the new events to the state.

    `looks` has the times of the previous look into the log and of this one; None at the first look. Wrong times of
    events that are read at the first look are corrected by `RateLimitState.follow_clock`.
    """
    damaged = journal.damaged
    for offset, line in journal.read_new_lines():
        while damaged < journal.damaged:
            damaged += 1
            state.count_damaged_event()
        try:
            event = parse_event(strip_checksum(line))
        except ValidationError:
            log.warning("%s: skipped the unknown event at byte %d; another version wrote it", journal.path, offset)
            continue
        if looks and not looks[0] - state.clock_margin <= event.at <= looks[1] + state.clock_margin:
            event = event.model_copy(update={"at": looks[1]})
        state.apply(event)
    for _ in range(journal.damaged - damaged):
        state.count_damaged_event()
