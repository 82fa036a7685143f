"""Quotas as Google counts them: a project's requests and input tokens a minute and requests a day, for each model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

from gemini_simulator.config import QuotaConfig

MINUTE_S = 60.0
DAY_S = 86_400.0

Metric = Literal["rpm", "tpm", "rpd"]


class Window(Protocol):
    """How one limit is counted. `wait` is 0 when `amount` fits at `now`, else the seconds until it does."""

    def wait(self, now: float, amount: int) -> float: ...

    def take(self, now: float, amount: int) -> None: ...


class RollingWindow:
    """At most `limit` in any span of `length` seconds."""

    def __init__(self, limit: int, length: float) -> None:
        self.limit, self.length = limit, length
        self._taken: deque[tuple[float, int]] = deque()
        self._total = 0

    def wait(self, now: float, amount: int) -> float:
        while self._taken and self._taken[0][0] <= now - self.length:
            self._total -= self._taken.popleft()[1]
        excess = self._total + amount - self.limit
        if excess <= 0:
            return 0.0
        for at, taken in self._taken:
            excess -= taken
            if excess <= 0:
                return at + self.length - now
        return self.length  # larger than the limit itself: never

    def take(self, now: float, amount: int) -> None:
        self._taken.append((now, amount))
        self._total += amount


class FixedWindow:
    """At most `limit` in each whole `length` of the clock."""

    def __init__(self, limit: int, length: float) -> None:
        self.limit, self.length = limit, length
        self._window, self._total = -1, 0

    def wait(self, now: float, amount: int) -> float:
        window = int(now // self.length)
        if window != self._window:
            self._window, self._total = window, 0
        return 0.0 if self._total + amount <= self.limit else (window + 1) * self.length - now

    def take(self, now: float, amount: int) -> None:
        self._total += amount


class Bucket:
    """A bucket of `limit` tokens that refills evenly over `length` seconds."""

    def __init__(self, limit: int, length: float) -> None:
        self.limit, self.length = limit, length
        self._level, self._at = float(limit), 0.0

    def wait(self, now: float, amount: int) -> float:
        self._level = min(self.limit, self._level + (now - self._at) * self.limit / self.length)
        self._at = now
        missing = amount - self._level
        return 0.0 if missing <= 1e-9 else missing * self.length / self.limit

    def take(self, now: float, amount: int) -> None:
        self._level -= amount


WINDOWS: dict[str, type[RollingWindow] | type[FixedWindow] | type[Bucket]] = {
    "rolling": RollingWindow,
    "fixed": FixedWindow,
    "bucket": Bucket,
}


@dataclass(frozen=True)
class Violation:
    """A limit that a request would break, and the seconds until it would not."""

    metric: Metric
    limit: int
    wait: float


class Pool:
    """The limits of one project and model. A request that breaks one is not counted against any."""

    def __init__(self, quota: QuotaConfig, window: str) -> None:
        self.zero = 0 in (quota.rpm, quota.tpm, quota.rpd)
        limits: list[tuple[Metric, int | None, type, float]] = [
            ("rpm", quota.rpm, WINDOWS[window], MINUTE_S),
            ("tpm", quota.tpm, WINDOWS[window], MINUTE_S),
            ("rpd", quota.rpd, FixedWindow, DAY_S),
        ]
        self._windows: dict[Metric, tuple[int, Window]] = {
            metric: (limit, kind(limit, length)) for metric, limit, kind, length in limits if limit
        }

    def admit(self, now: float, tokens: int) -> list[Violation]:
        """Count one request of `tokens` input tokens, or say what it breaks; a model at `limit: 0` breaks all three."""
        if self.zero:
            return [Violation(metric, 0, MINUTE_S) for metric in ("tpm", "rpm", "rpd")]
        broken = []
        for metric, (limit, window) in self._windows.items():
            if wait := window.wait(now, tokens if metric == "tpm" else 1):
                broken.append(Violation(metric, limit, wait))
        if not broken:
            for metric, (_, window) in self._windows.items():
                window.take(now, tokens if metric == "tpm" else 1)
        return broken
