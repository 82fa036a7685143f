"""Quotas as Google counts them for each project and model: requests and tokens per minute, and requests per day."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from gemini_simulator.config import QuotaConfig

MINUTE_S = 60.0
DAY_S = 86_400.0

Metric = Literal["rpm", "tpm", "rpd"]


class QuotaWindow(Protocol):
    """Counts usage against one limit. Times are in seconds on the simulator's clock."""

    def wait_s(self, now: float, amount: int) -> float:
        """Return 0 if `amount` is allowed at time `now`, else the number of seconds until it is allowed."""

    def consume(self, now: float, amount: int) -> None:
        """Record that `amount` was used at time `now`."""


class RollingWindow:
    """Allows at most `limit` units in any period of `length_s` seconds."""

    def __init__(self, limit: int, length_s: float) -> None:
        self.limit, self.length_s = limit, length_s
        self._used: deque[tuple[float, int]] = deque()
        self._total = 0

    def wait_s(self, now: float, amount: int) -> float:
        """Return 0 if `amount` is allowed at time `now`, else the number of seconds until it is allowed."""
        while self._used and self._used[0][0] <= now - self.length_s:
            self._total -= self._used.popleft()[1]
        excess = self._total + amount - self.limit
        if excess <= 0:
            return 0.0
        for at, used in self._used:
            excess -= used
            if excess <= 0:
                return at + self.length_s - now
        return self.length_s  # `amount` is larger than the limit and never fits

    def consume(self, now: float, amount: int) -> None:
        """Record that `amount` was used at time `now`."""
        self._used.append((now, amount))
        self._total += amount


class FixedWindow:
    """Allows at most `limit` units per window. A new window starts every `length_s` seconds."""

    def __init__(self, limit: int, length_s: float) -> None:
        self.limit, self.length_s = limit, length_s
        self._window, self._total = -1, 0

    def wait_s(self, now: float, amount: int) -> float:
        """Return 0 if `amount` is allowed at time `now`, else the number of seconds until the next window starts."""
        window = int(now // self.length_s)
        if window != self._window:
            self._window, self._total = window, 0
        return 0.0 if self._total + amount <= self.limit else (window + 1) * self.length_s - now

    def consume(self, now: float, amount: int) -> None:
        """Record that `amount` was used in the current window."""
        self._total += amount


class TokenBucket:
    """A bucket of `limit` units that refills evenly over `length_s` seconds."""

    def __init__(self, limit: int, length_s: float) -> None:
        self.limit, self.length_s = limit, length_s
        self._level, self._at = float(limit), 0.0

    def wait_s(self, now: float, amount: int) -> float:
        """Return 0 if the bucket contains `amount` at time `now`, else the number of seconds until it does."""
        self._level = min(self.limit, self._level + (now - self._at) * self.limit / self.length_s)
        self._at = now
        missing = amount - self._level
        return 0.0 if missing <= 1e-9 else missing * self.length_s / self.limit

    def consume(self, now: float, amount: int) -> None:
        """Remove `amount` from the bucket."""
        self._level -= amount


WindowType: TypeAlias = type[RollingWindow] | type[FixedWindow] | type[TokenBucket]
#: Value of `SimulatorConfig.window` -> class of the window.
WINDOW_TYPES: dict[str, WindowType] = {
    "rolling": RollingWindow,
    "fixed": FixedWindow,
    "bucket": TokenBucket,
}


@dataclass(frozen=True)
class QuotaViolation:
    """A limit that a request exceeds. The limit would allow the request after `wait_s` seconds."""

    metric: Metric
    limit: int
    wait_s: float


class ProjectQuota:
    """A project's limits for one model. A request that exceeds any limit is refused and counts against none of them."""

    def __init__(self, quota: QuotaConfig, window: str) -> None:
        self._no_quota = 0 in (quota.rpm, quota.tpm, quota.rpd)
        limits: list[tuple[Metric, int | None, WindowType, float]] = [
            ("rpm", quota.rpm, WINDOW_TYPES[window], MINUTE_S),
            ("tpm", quota.tpm, WINDOW_TYPES[window], MINUTE_S),
            ("rpd", quota.rpd, FixedWindow, DAY_S),
        ]
        self._windows: dict[Metric, tuple[int, QuotaWindow]] = {
            metric: (limit, kind(limit, length_s)) for metric, limit, kind, length_s in limits if limit
        }

    def admit(self, now: float, tokens: int) -> list[QuotaViolation]:
        """Count a request with `tokens` input tokens, unless it exceeds a limit. Return the exceeded limits.

        If any configured limit is 0, returns all three limits with the value 0, because Google reports them this way.
        """
        if self._no_quota:
            return [QuotaViolation(metric, 0, MINUTE_S) for metric in ("tpm", "rpm", "rpd")]
        violations = []
        for metric, (limit, window) in self._windows.items():
            if wait_s := window.wait_s(now, tokens if metric == "tpm" else 1):
                violations.append(QuotaViolation(metric, limit, wait_s))
        if not violations:
            for metric, (_, window) in self._windows.items():
                window.consume(now, tokens if metric == "tpm" else 1)
        return violations
