"""Lock files, so that only one process at a time works on a shard, a registry or a GPU.

The kernel releases a lock when the process that holds it ends, even if that process is killed. A lock holds between all
processes of a machine, whichever deployment started them. It holds between machines if they share the folder through a
file system with locks, such as NFS 3 or later. A file system without locks is refused, because two deployments on one
folder would not notice each other there. For a path in an object store, a lease in the store holds between machines
(see `artifact_store.leases`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import IncompleteError, InvalidInputError

POLL_S = 0.2


@contextlib.contextmanager
def hold_lock(path: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` during a `with` block. The file names the process that holds the lock.

    `what` is the name of the protected thing in the error message. If another process holds the lock, this function
    waits for up to `wait_s` seconds, then raises an IncompleteError that names the other process. It also raises
    IncompleteError if the lock file cannot be written, and InvalidInputError if the file system has no locks.

    In an object store, a lock whose holder has vanished on another machine can be taken only after the term of its
    lease. Until then, the IncompleteError names the holder.
    """
    with _open(path) as f, contextlib.ExitStack() as leases:
        deadline = time.monotonic() + wait_s
        while not _try_lock(f, path):
            if time.monotonic() >= deadline:
                f.seek(0)
                raise IncompleteError(
                    f"{what} is in use by {f.read().strip() or 'another process'} ({path}); wait until that process "
                    "ends, or stop it, then run the same command again"
                )
            time.sleep(POLL_S)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        with contextlib.suppress(OSError):  # on a full disk, the lock works but does not name its holder
            os.ftruncate(f.fileno(), 0)
            os.write(f.fileno(), holder.encode())
        if location := location_of(path):
            from insurance_rag.core.artifact_store.leases import hold_lease

            leases.enter_context(hold_lease(location, what, wait_s))
        yield


def is_locked(path: Path) -> bool:
    """Return whether any process holds the lock file `path`. Raises the same errors as `hold_lock`."""
    if path.exists():
        with _open(path) as f:
            if not _try_lock(f, path):
                return True
    if location := location_of(path):
        from insurance_rag.core.artifact_store.leases import is_leased

        return is_leased(location)
    return False


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8", errors="replace")
    except OSError as e:
        raise IncompleteError(
            f"{path}: the lock file cannot be written ({e.strerror}); fix the permissions, then run the same command "
            "again"
        ) from e


def _try_lock(f: IO[str], path: Path) -> bool:
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as e:
        raise InvalidInputError(
            f"{path}: the file system has no file locks ({e.strerror}); use a folder on a local disk, or on a shared "
            "file system with locks"
        ) from e
    return True
