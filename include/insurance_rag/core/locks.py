"""One worker a piece of work: a lock file that says who holds it. The kernel frees it when its holder dies."""

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

from insurance_rag.core.errors import IncompleteError


@contextlib.contextmanager
def held(path: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock `path`; IncompleteError names its holder where another process has it, for longer than `wait_s`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as f:
        until = time.monotonic() + wait_s
        while not _taken(f):
            if time.monotonic() >= until:
                f.seek(0)
                raise IncompleteError(
                    f"{what} is being worked on by {f.read().strip() or 'another process'} ({path}); "
                    "wait for it, or stop that process and run this again"
                )
            time.sleep(0.2)
        f.truncate(0)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        f.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        f.flush()
        yield


def is_held(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("a") as f:
        return not _taken(f)


def _taken(f: IO[str]) -> bool:
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
