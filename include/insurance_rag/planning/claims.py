"""Claims of workers on chunks, in RUN/parts/claims.jsonl, which the workers of all shards share.

A worker claims chunks before it requests them, so that no other worker requests them too. A claim ends when the worker
releases it, when the worker ends, when a new worker starts for the same shard, or when the claim is too old. Whether a
worker is alive follows from the lock of its shard, which the kernel releases even if the worker is killed. The age of a
claim counts from the moment when this process read it, so that a change of the system clock ends no claim.

    with claims.locked():
        free = [key for key in wanted if claims.is_free(key)]
        claims.add(free)

In an object store, `add` raises LogChangedError if a worker on another machine has claimed something since the log was
locked. The worker then looks again which chunks are free.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import LogChangedError
from insurance_rag.core.files import remove_file
from insurance_rag.core.journal import Journal
from insurance_rag.core.journal_lines import strip_checksum
from insurance_rag.core.locks import is_locked
from insurance_rag.core.records import Record
from insurance_rag.core.run_folder import RunFolder

log = logging.getLogger(__name__)

RECHECK_S = 0.5
"""Number of seconds for which the result of checking whether a worker is alive is reused."""
STORE_RECHECK_S = 5.0
"""The same for a run in an object store, where each check is a request."""


class WorkerStarted(Record):
    """A worker started for a shard. The claims of the shard's earlier workers have ended."""

    event: Literal["started"] = "started"
    shard: int
    worker: str


class ChunksClaimed(Record):
    """A worker will request these chunks."""

    event: Literal["claimed"] = "claimed"
    at: float = Field(description="Unix timestamp in seconds, for people who read the log")
    shard: int
    worker: str
    keys: list[str]


class ChunksReleased(Record):
    """A worker will not request these chunks after all."""

    event: Literal["released"] = "released"
    keys: list[str]


class PlanReplaced(Record):
    """The run has a new plan. All earlier claims have ended, and no shard of the new plan has been started."""

    event: Literal["replaced"] = "replaced"


ClaimEvent = WorkerStarted | ChunksClaimed | ChunksReleased | PlanReplaced
_EVENT: TypeAdapter[ClaimEvent] = TypeAdapter(Annotated[ClaimEvent, Field(discriminator="event")])


class ClaimLog:
    """The claims of all workers in a run. The worker of `shard` must hold the shard's lock while it uses this object.

    A key is a chunk's cache key, or another string that identifies a piece of work.
    """

    def __init__(self, run: RunFolder, shard: int, max_age_s: float) -> None:
        """Open the log and record that the shard's worker has started. Raises IncompleteError if that fails.

        A claim that is older than `max_age_s` has lapsed: its worker is alive but has been stopped or suspended.
        """
        self._run, self._shard, self._max_age_s = run, shard, max_age_s
        self._worker = f"{shard}-{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
        self._holders: dict[str, tuple[int, str, float]] = {}  # key -> (shard, worker, time when read)
        self._workers: dict[int, str] = {}  # shard -> its newest worker
        self._alive: dict[int, tuple[float, bool]] = {}  # shard -> (time of the check, whether its worker is alive)
        self._in_store = location_of(run.claims) is not None
        self._recheck_s = STORE_RECHECK_S if self._in_store else RECHECK_S
        self._journal = Journal(run.claims, append=True, shared=True)
        self._append(WorkerStarted(shard=shard, worker=self._worker))

    def close(self) -> None:
        """Close the file."""
        self._journal.close()

    @property
    def started_shards(self) -> Collection[int]:
        """Numbers of the shards for which a worker has ever started."""
        return self._workers.keys()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the log and read the newest claims. Raises IncompleteError if the log cannot be read or repaired."""
        with self._journal.locked():
            for offset, line in self._journal.read_new_lines():
                try:
                    self._apply(_EVENT.validate_json(strip_checksum(line)))
                except ValidationError:
                    log.warning("%s: skipped the unknown event at byte %d", self._journal.path, offset)
            yield

    def is_free(self, key: str) -> bool:
        """Return whether no living worker holds a claim on `key`.

        It may take RECHECK_S until a death is noticed; in an object store STORE_RECHECK_S, and for a worker on another
        machine also the term of its lease.
        """
        shard, worker, read_at = self._holders.get(key, (0, "", 0.0))
        if not worker:
            return True
        if worker == self._worker:
            return False
        is_current = self._workers.get(shard) == worker
        if is_current and time.monotonic() - read_at <= self._max_age_s and self._is_alive(shard):
            return False
        if self._in_store:
            _look_for_answers(self._run)
        return True

    def add(self, keys: Collection[str]) -> None:
        """Claim `keys`. Call this method only while the log is locked, and only with free keys.

        Raises LogChangedError if a worker on another machine has written since the log was locked.
        """
        self._write(self._claim(keys))

    def renew(self, keys: Collection[str]) -> None:
        """Renew the claims of this worker on `keys`."""
        self._append(self._claim(keys))

    def release(self, keys: Collection[str]) -> None:
        """End the claims of this worker on `keys`."""
        if keys:
            self._append(ChunksReleased(keys=list(keys)))

    def _claim(self, keys: Collection[str]) -> ChunksClaimed:
        return ChunksClaimed(at=time.time(), shard=self._shard, worker=self._worker, keys=list(keys))

    def _is_alive(self, shard: int) -> bool:
        checked_at, alive = self._alive.get(shard, (-math.inf, False))
        if time.monotonic() - checked_at >= self._recheck_s:
            alive = is_locked(self._run.lock(shard))
            self._alive[shard] = (time.monotonic(), alive)
        return alive

    def _append(self, event: ClaimEvent) -> None:
        """Write an event that does not depend on what others write."""
        while True:
            with contextlib.suppress(LogChangedError), self.locked():
                self._write(event)
                return

    def _write(self, event: ClaimEvent) -> None:
        self._journal.append_as_read(event.model_dump())
        self._apply(event)

    def _apply(self, event: ClaimEvent) -> None:
        if isinstance(event, WorkerStarted):
            self._workers[event.shard] = event.worker
            self._alive.pop(event.shard, None)
        elif isinstance(event, ChunksClaimed):
            self._holders.update(dict.fromkeys(event.keys, (event.shard, event.worker, time.monotonic())))
        elif isinstance(event, ChunksReleased):
            for key in event.keys:
                self._holders.pop(key, None)
        else:
            self._workers.clear()
            self._holders.clear()


def open_shards(run: RunFolder, shards: Collection[int]) -> None:
    """Record that the work of `shards` may be helped with, although no worker may have started for them.

    Shards that a process is working on are left alone. Raises IncompleteError if the log cannot be written.
    """
    with contextlib.closing(Journal(run.claims, append=True, shared=True)) as journal:
        # A worker takes its shard's lock before it records its start here, so its own record would come later.
        _append_decided(
            journal, lambda: [WorkerStarted(shard=n, worker="none") for n in shards if not is_locked(run.lock(n))]
        )


def clear_claims(run: RunFolder) -> None:
    """End all claims, because the run gets a new plan. The caller must hold the locks of all shards.

    Raises IncompleteError if the log cannot be written.
    """
    if location_of(run.claims) is None:
        remove_file(run.claims)
        return
    # In an object store, another machine may be reading the log, so it only grows.
    with contextlib.closing(Journal(run.claims, append=True, shared=True)) as journal:
        _append_decided(journal, lambda: [PlanReplaced()])


def _append_decided(journal: Journal, decide: Callable[[], Sequence[ClaimEvent]]) -> None:
    """Lock the log, and append the events that `decide` returns. If another machine writes meanwhile, decide again."""
    while True:
        with contextlib.suppress(LogChangedError), journal.locked():
            if events := decide():
                journal.append_all([event.model_dump() for event in events])
            return


def _look_for_answers(run: RunFolder) -> None:
    """Make the next look into the journals of other machines include what a worker wrote before it ended."""
    from insurance_rag.core.artifact_store.segments import pull_again

    pull_again(run.journal)
