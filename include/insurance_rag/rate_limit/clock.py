"""The clock of the rate limiter: wall time that continues evenly when the system clock is set to another time."""

from __future__ import annotations

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """Return a clock that reads the system clock once and then only counts the seconds that have passed.

    Its values are Unix timestamps. Seconds during which the machine was suspended are included.
    """
    start = time.time() - _elapsed_s()
    return lambda: start + _elapsed_s()


def _elapsed_s() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
