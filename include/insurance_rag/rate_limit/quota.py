"""The quota of one project as the pace sees it, and a rolling log of what was sent on it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Metric = Literal["requests", "tokens"]

PACIFIC = ZoneInfo("America/Los_Angeles")  # Google's day ends at midnight there


@dataclass(slots=True)
class Call:
    at: float
    chars: int
    tokens: float
    shard: int
    key: str
    pool: str
    ordinal: int  # position among the window's calls when it was sent
    repair: bool = False  # asks again for faulty pairs; for the books


@dataclass
class Key:
    tested: bool = False  # it has answered since its shard was started
    dead: str | None = None
    last_sent: float = 0.0


@dataclass
class Pool:
    """The quota of one project."""

    own: bool = False  # a key without a told project: may share one with other such keys for all we know
    told: dict[Metric, float] = field(default_factory=dict)
    limits: dict[Metric, float] = field(default_factory=dict)
    rpd: int | None = None
    guessed: bool = False  # the requests limit is our count, not the server's word
    beyond_prior: bool = False  # this pool was granted more than the prior said
    calls: deque[Call] = field(default_factory=deque)  # of the window, oldest first, refused ones taken out
    last_sent: float = 0.0
    paused_until: float = 0.0
    learned_at: float = 0.0  # refusals of calls sent before this are the same incident
    unexplained_at: float = -math.inf
    halved_at: float = -math.inf
    spread: bool = False  # one call every window / limit seconds instead of as they come
    factor: float = 1.0  # of the limit that is used
    token_safety: float = 1.0
    zero: str | None = None
    day_until: float | None = None
    day: str = ""
    day_sent: int = 0

    def used(self, metric: Metric, since: float, until: float = math.inf) -> float:
        """What the calls that were sent after `since`, and at `until` at the latest, take of the quota."""
        return sum(cost(call, metric) for call in self.calls if since < call.at <= until)

    def free_at(self, metric: Metric, amount: float, limit: float, now: float, horizon: float) -> float:
        """When the last `horizon` seconds have room for `amount`; more than the limit waits until they are empty."""
        used = self.used(metric, now - horizon)
        at = now
        for call in self.calls:
            if used + amount <= limit:
                break
            if call.at > now - horizon:
                used -= cost(call, metric)
                at = call.at + horizon
        return at

    def forget(self, before: float) -> None:
        while self.calls and self.calls[0].at <= before:
            self.calls.popleft()

    def count_day(self, t: float) -> None:
        day = day_of(t)
        self.day_sent = self.day_sent + 1 if day == self.day else 1
        self.day = day


def cost(call: Call, metric: Metric) -> float:
    return 1.0 if metric == "requests" else call.tokens


def day_of(t: float) -> str:
    return datetime.fromtimestamp(t, PACIFIC).date().isoformat()


def next_midnight(now: float) -> float:
    """The end of Google's day after `now`."""
    local = datetime.fromtimestamp(now, PACIFIC)
    return (local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + timedelta(days=1)).timestamp()
