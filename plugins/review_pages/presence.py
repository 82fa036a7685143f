"""Remembers who looks at which item, so that several reviewers of one set are led to different items.

This is advice only: it is kept in the memory of one api-server process. The versions in the store of decisions prevent
that reviewers overwrite each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

RECENT_S = 180
"""How long a reviewer counts as looking at the item that was opened last."""


class Presence:
    """Who looks at which item of which set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str, float]] = {}

    def open(self, place: str, reviewer: str, key: str) -> None:
        """Note that a reviewer looks at an item of the set `place`, and no longer at the one before."""
        with self._lock:
            now = self._clock()
            self._seen = {who: seen for who, seen in self._seen.items() if now - seen[1] < RECENT_S}
            self._seen[place, reviewer] = (key, now)

    def others(self, place: str, reviewer: str) -> dict[str, str]:
        """Return the other reviewers of the set, each with the key of the item that the reviewer looks at."""
        with self._lock:
            now = self._clock()
            return {
                who: key
                for (where, who), (key, at) in self._seen.items()
                if where == place and who != reviewer and now - at < RECENT_S
            }
