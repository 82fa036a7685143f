"""Locks between machines: one object per lock in the object store, written with conditional requests.

The holder creates the object and replaces it every few seconds. Each replacement names the ETag of the one before, so
it fails if another process has got the lease meanwhile. A lease that is not renewed for $ARTIFACT_LEASE_S
seconds (60 by default) may pass to another process. A process of this machine that has died loses its lease at once.

A process that lost its lease learns it from `check_leases`, which every write into the store calls: it then stops. It
learns it, too, if it could not renew the lease in time, for example because it was suspended. What it wrote before
remains valid. A request that was already on its way may still arrive; segments of journals are therefore created only
at the place where the writer saw the end of the file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from insurance_rag.core.artifact_store.bucket import Bucket, StoredObject, bucket_of, seconds_of
from insurance_rag.core.artifact_store.locations import Location
from insurance_rag.core.errors import IncompleteError, InvalidInputError, PipelineError

log = logging.getLogger(__name__)

POLL_S = 0.5
_RENEWALS_PER_TERM = 6
_OBSERVATIONS = 2
"""A lease that looks old passes to another process only if it is not renewed during this many renewal intervals."""


def lease_seconds() -> float:
    """Return $ARTIFACT_LEASE_S, the seconds after which a lease that is not renewed may be replaced (default 60)."""
    return seconds_of("ARTIFACT_LEASE_S", os.environ.get("ARTIFACT_LEASE_S"), 2, 3600)


@dataclass(frozen=True)
class Owner:
    """Who holds a lease."""

    id: str
    host: str
    system: str
    """Boot id and process namespace. Process ids can be compared only within one of them."""
    pid: int
    started: str
    """Start time of the process, which distinguishes it from a later process with the same id."""
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"

    def has_died(self) -> bool:
        """Return whether the owner is a process of this machine that does not exist any more."""
        return self.system == _system() and _start_time(self.pid) != self.started


class Lease:
    """A lease that this process holds."""

    def __init__(self, bucket: Bucket, key: str, what: str, owner: Owner, etag: str) -> None:
        self._bucket, self._key, self._what, self._owner, self._etag = bucket, key, what, owner, etag
        self._term = lease_seconds()
        self._renewed_at = time.monotonic()
        self._count = 0
        self._lost = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease {key}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise IncompleteError if another process holds the lease now. If the term has passed, renew it first."""
        if time.monotonic() - self._renewed_at > self._term:
            self._renew()
        if self._lost:
            raise IncompleteError(
                f"{self._what}: this process lost its lease {self._bucket.uri(self._key)}, because it was suspended or "
                "cut off from the store; another process continues. If it has ended, run the same command again"
            )

    def release(self) -> None:
        """End the lease. If that fails, it ends by itself after its term."""
        self._ended.set()
        self._thread.join(1)
        with self._lock, contextlib.suppress(PipelineError):
            if not self._lost:
                self._bucket.replace(self._key, b'{"released": true}', self._etag)

    def _keep(self) -> None:
        while not self._ended.wait(self._term / _RENEWALS_PER_TERM):
            try:
                self._renew()
            except PipelineError as e:
                log.warning("the lease of %s could not be renewed: %s", self._what, e)

    def _renew(self) -> None:
        with self._lock:
            if self._lost or self._ended.is_set():
                return
            self._count += 1
            started = time.monotonic()
            etag = self._bucket.replace(self._key, _content(self._owner, self._count), self._etag)
            if etag is None:
                self._lost = True
            else:
                self._etag, self._renewed_at = etag, started


_checked = set[Bucket]()
"""Buckets whose server is known to respect conditions."""
_held: dict[int, Lease] = {}


def check_leases() -> None:
    """Raise IncompleteError if this process has lost a lease that it holds. Call this before each write."""
    for lease in [*_held.values()]:
        lease.check()


@contextlib.contextmanager
def hold_lease(location: Location, what: str, wait_s: float) -> Iterator[None]:
    """Hold the lease at `location` during a `with` block. `what` is the name of the protected thing in messages.

    Raises IncompleteError that names the holder if another process holds it after `wait_s` seconds.
    """
    lease = _acquire(location, what, wait_s)
    _held[id(lease)] = lease
    try:
        yield
    finally:
        del _held[id(lease)]
        lease.release()


def is_leased(location: Location) -> bool:
    """Return whether a process holds the lease at `location`, as far as its age shows."""
    found = bucket_of(location).get(location.key)
    owner = _owner(found) if found else None
    return owner is not None and found is not None and not owner.has_died() and not _looks_old(found)


def _acquire(location: Location, what: str, wait_s: float) -> Lease:
    bucket, key = bucket_of(location), location.key
    deadline = time.monotonic() + wait_s
    owner = Owner(
        uuid.uuid4().hex,
        socket.gethostname(),
        _system(),
        os.getpid(),
        _start_time(os.getpid()),
        datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )
    seen: tuple[str, float] = ("", 0.0)  # ETag of an old lease, and when it was first seen
    while True:
        found = bucket.get(key)
        if found is None:
            etag = bucket.create(key, _content(owner, 0))
            if etag:
                _check_conditional_writes(bucket, key)
        elif _is_free(found, seen):
            etag = bucket.replace(key, _content(owner, 0), found.info.etag)
        else:
            etag = None
        if etag:
            return Lease(bucket, key, what, owner, etag)
        holder = _owner(found) if found else None
        if found and holder and _looks_old(found):
            if seen[0] != found.info.etag:
                seen = found.info.etag, time.monotonic()
        elif time.monotonic() >= deadline:
            raise IncompleteError(
                f"{what} is in use by {holder or 'another process'} ({location.uri}); wait until that process ends, or "
                "stop it, then run the same command again"
            )
        time.sleep(POLL_S if holder else 0.01)


def _check_conditional_writes(bucket: Bucket, key: str) -> None:
    """Raise InvalidInputError if the server creates the object `key` although it exists. Checked once per bucket."""
    if bucket in _checked:
        return
    if bucket.create(key, b'{"released": true}') is not None:
        raise InvalidInputError(
            f"{bucket.uri(key)}: the server ignores conditional writes (If-None-Match), without which two processes "
            "could write the same files; use another server, or a shared file system"
        )
    _checked.add(bucket)


def _is_free(found: StoredObject, seen: tuple[str, float]) -> bool:
    """Return whether a lease may be replaced. `seen` has the ETag of an old lease and when it was first seen."""
    owner = _owner(found)
    if owner is None or owner.has_died():
        return True
    observed_s = time.monotonic() - seen[1] if seen[0] == found.info.etag else 0.0
    return _looks_old(found) and observed_s > _OBSERVATIONS * lease_seconds() / _RENEWALS_PER_TERM


def _looks_old(found: StoredObject) -> bool:
    return (datetime.now(UTC) - found.info.modified).total_seconds() > lease_seconds()


def _content(owner: Owner, count: int) -> bytes:
    return json.dumps({**vars(owner), "renewals": count}).encode()


def _owner(found: StoredObject) -> Owner | None:
    """Return who holds a lease, or None if it was released or cannot be read."""
    try:
        content = json.loads(found.data)
        content.pop("renewals", None)
        return Owner(**content)
    except (ValueError, TypeError, AttributeError):
        return None


def _system() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return f"{socket.gethostname()} {uuid.getnode()}"


def _start_time(pid: int) -> str:
    """Return the start time of a process in clock ticks; empty if there is no such process (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self").exists() else "unknown"
    return "" if fields[0] in ("Z", "X") else fields[19]
