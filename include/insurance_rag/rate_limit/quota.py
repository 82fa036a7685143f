"""State of API keys and quota pools, including the calls in the current quota window."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Metric = Literal["requests", "tokens"]

PACIFIC = ZoneInfo("America/Los_Angeles")  # Gemini's daily quotas are reset at midnight in this time zone


@dataclass(slots=True)
class SentCall:
    """One admitted request."""

    sent_at: float
    chars: int
    tokens: float
    """Number of input tokens. It is estimated from `chars` until the answer reports the actual number."""
    shard: int
    key: str
    pool: str
    ordinal: int
    """Number of calls, including this one, that the pool sent in the window that ends with this call."""
    chunks: int = 1
    pairs: int = 0
    """Number of pairs that the call asks for."""
    timeout_s: float = 60.0
    """The call has ended this long after `sent_at`, at the latest."""
    is_retry: bool = False
    is_repair: bool = False
    """Whether the call requests replacements for faulty pairs."""


@dataclass
class PackCounts:
    """Outcomes of the first requests with a certain number of chunks per call. Retries and repairs are not included."""

    calls: int = 0
    pairs: int = 0
    """Number of pairs that the calls asked for."""
    accepted: int = 0


@dataclass
class KeyState:
    """What the run has learned about one API key since the key's shard was last started."""

    has_answered: bool = False
    rejection_reason: str | None = None
    last_sent_at: float = 0.0


@dataclass
class QuotaPool:
    """What the run knows about one quota pool: its settings, learned limits, recent calls and refusals."""

    quota_unshared: bool = False
    """True if the pool's key has no project. Its quota counts as separate until refusals show that keys share it."""
    configured_limits: dict[Metric, float] = field(default_factory=dict)
    limits: dict[Metric, float] = field(default_factory=dict)
    """Limits per window: configured, reported by the server in a refusal, or estimated from the calls in a window."""
    rpd_of_keys: dict[str, int | None] = field(default_factory=dict)
    """Configured daily quota by key id; None if the key has none. The keys of a project may differ in it."""
    limit_is_estimate: bool = False
    """Whether the request limit was estimated from the calls in a window, because the server did not report it."""
    granted: int = 0
    """Largest number of calls that this pool was granted within one window."""
    calls: deque[SentCall] = field(default_factory=deque)
    """Calls in the window, oldest first. Refused calls are not included."""
    last_sent_at: float = 0.0
    paused_until: float = 0.0
    limit_learned_at: float = 0.0
    """Time when the limit was last learned or raised. Refusals of calls sent before that time are ignored."""
    unexplained_refusal_at: float = -math.inf
    throttled_at: float = -math.inf
    evenly_spaced: bool = False
    """Whether calls are sent every `window / limit` seconds instead of as soon as they fit into the window."""
    throttle_factor: float = 1.0
    """Fraction of the limit that the pool may use."""
    token_safety_factor: float = 1.0
    no_quota_reason: str | None = None
    day_exhausted_until: float | None = None
    day: str = ""
    calls_today: int = 0

    @property
    def rpd(self) -> int | None:
        """The configured daily quota: the smallest one of the pool's keys. None if no key has one."""
        return min((rpd for rpd in self.rpd_of_keys.values() if rpd is not None), default=None)

    def used(self, metric: Metric, since: float, until: float = math.inf) -> float:
        """Return the amount of quota used by the calls that were sent after `since` and no later than `until`."""
        return sum(cost(call, metric) for call in self.calls if since < call.sent_at <= until)

    def free_at(self, metric: Metric, amount: float, limit: float, now: float, horizon: float) -> float:
        """Return the earliest time, `now` or later, at which a new call may use `amount` of the quota.

        At that time, the new call and the calls of the last `horizon` seconds together stay within `limit`. If `amount`
        alone exceeds `limit`, return the time at which every earlier call is at least `horizon` seconds old.
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
        """Drop the calls that were sent at time `before` or earlier."""
        while self.calls and self.calls[0].sent_at <= before:
            self.calls.popleft()

    def count_day(self, at: float) -> None:
        """Count one call at time `at` toward the daily quota."""
        day = day_of(at)
        self.calls_today = self.calls_today + 1 if day == self.day else 1
        self.day = day

    def limit_times(self, now: float, window_s: float) -> None:
        """Correct the stored times after the clock was set back to `now`.

        Times of past events become `now` at the latest. A pause ends after one window at the latest.
        """
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
    """Return how much of a quota one call uses: 1 for `requests`, the number of input tokens for `tokens`."""
    return 1.0 if metric == "requests" else call.tokens


def day_of(at: float) -> str:
    """Return the quota day that includes time `at`: the date in Pacific time, in ISO format."""
    return datetime.fromtimestamp(at, PACIFIC).date().isoformat()


def next_midnight(now: float) -> float:
    """Return the Unix timestamp of the first reset of the daily quota after `now`."""
    local = datetime.fromtimestamp(now, PACIFIC)
    return (local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + timedelta(days=1)).timestamp()
