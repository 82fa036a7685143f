"""What is known about API keys and the quotas of their projects, with the calls of the current quota window."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Metric = Literal["requests", "tokens"]

PACIFIC = ZoneInfo("America/Los_Angeles")  # Gemini's quotas per day are reset at midnight there


@dataclass(slots=True)
class SentCall:
    """One admitted request."""

    sent_at: float
    chars: int
    tokens: float
    """Input tokens: estimated from `chars` until the answer reports them."""
    shard: int
    key: str
    pool: str
    ordinal: int
    """1-based position among the calls of its window when it was sent."""
    is_repair: bool = False
    """Whether it requests faulty pairs again."""


@dataclass
class KeyState:
    """What is known about one API key since its shard was started."""

    has_answered: bool = False
    rejection_reason: str | None = None
    last_sent_at: float = 0.0


@dataclass
class QuotaPool:
    """What is known about the quota of one project."""

    quota_unshared: bool = False
    """The key has no configured project. Its quota counts as its own until refusals show that keys share one."""
    configured_limits: dict[Metric, float] = field(default_factory=dict)
    limits: dict[Metric, float] = field(default_factory=dict)
    """Limits per window: configured, reported by a refusal, or estimated from the calls of the window."""
    rpd: int | None = None
    limit_is_estimate: bool = False
    """The limit of requests was counted from the calls of the window; the server did not report it."""
    exceeded_prior: bool = False
    """This pool was granted more calls than the prior limit (see `state`), so the prior does not hold for it."""
    calls: deque[SentCall] = field(default_factory=deque)
    """Calls of the window, oldest first, without those that were refused."""
    last_sent_at: float = 0.0
    paused_until: float = 0.0
    limit_learned_at: float = 0.0
    """Refusals of calls that were sent before this time belong to an incident that was handled already."""
    unexplained_refusal_at: float = -math.inf
    throttled_at: float = -math.inf
    evenly_spaced: bool = False
    """Send one call per `window / limit` seconds instead of as many as the window has room for."""
    throttle_factor: float = 1.0
    """Share of the limit that is used."""
    token_safety_factor: float = 1.0
    no_quota_reason: str | None = None
    day_exhausted_until: float | None = None
    day: str = ""
    calls_today: int = 0

    def used(self, metric: Metric, since: float, until: float = math.inf) -> float:
        """Return how much of the quota the calls use that were sent after `since` and not later than `until`."""
        return sum(cost(call, metric) for call in self.calls if since < call.sent_at <= until)

    def free_at(self, metric: Metric, amount: float, limit: float, now: float, horizon: float) -> float:
        """Return when the last `horizon` seconds have room for `amount`, at the earliest `now`.

        An amount above the limit gets room when no call is left in the last `horizon` seconds.
        """
        used = self.used(metric, now - horizon)
        at = now
        for call in self.calls:
            if used + amount <= limit:
                break
            if call.sent_at > now - horizon:
                used -= cost(call, metric)
                at = call.sent_at + horizon
        return at

    def forget(self, before: float) -> None:
        """Drop the calls that were sent at `before` or earlier."""
        while self.calls and self.calls[0].sent_at <= before:
            self.calls.popleft()

    def count_day(self, at: float) -> None:
        """Count one call of the quota's day at time `at`."""
        day = day_of(at)
        self.calls_today = self.calls_today + 1 if day == self.day else 1
        self.day = day

    def limit_times(self, now: float, window_s: float) -> None:
        """Move times that a clock set back has left in the future to what they can be at most, seen from `now`."""
        for call in self.calls:
            call.sent_at = min(call.sent_at, now)
        self.calls = deque(sorted(self.calls, key=lambda call: call.sent_at))
        self.last_sent_at = min(self.last_sent_at, now)
        self.paused_until = min(self.paused_until, now + window_s)
        self.limit_learned_at = min(self.limit_learned_at, now)
        self.unexplained_refusal_at = min(self.unexplained_refusal_at, now)
        self.throttled_at = min(self.throttled_at, now)
        if self.day_exhausted_until is not None:
            self.day_exhausted_until = min(self.day_exhausted_until, next_midnight(now))


def cost(call: SentCall, metric: Metric) -> float:
    """Return how much of a quota one call uses: 1 request, or its input tokens."""
    return 1.0 if metric == "requests" else call.tokens


def day_of(at: float) -> str:
    """Return the date (ISO format) of the quota's day at time `at`."""
    return datetime.fromtimestamp(at, PACIFIC).date().isoformat()


def next_midnight(now: float) -> float:
    """Return when the quota's day at `now` ends, in seconds of `time.time()`."""
    local = datetime.fromtimestamp(now, PACIFIC)
    return (local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + timedelta(days=1)).timestamp()
