"""A simulated server and its clients without clock or network, which count quotas in simulated seconds."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

from insurance_rag.rate_limit.admission import SendRequest, delay_before_send
from insurance_rag.rate_limit.events import CallAnswered, CallRateLimited, CallSent, ShardStarted
from insurance_rag.rate_limit.quota import Metric
from insurance_rag.rate_limit.state import RateLimitState


class Refusal(NamedTuple):
    """A 429 of the server."""

    metric: Metric
    limit: int
    wait_s: float


@dataclass
class Server:
    """Counts arrivals per project. `reports_limits=False` sends 429s without details."""

    rpm: int
    rpm_of: dict[str, int] = field(default_factory=dict)
    """Requests per minute of the projects that differ from the others."""
    tpm: float | None = None
    kind: str = "rolling"
    """rolling, fixed or bucket: how the server counts a minute."""
    reports_limits: bool = True
    capacity: int | None = None
    """Of a bucket."""
    other_users: tuple[float, float] = (0.0, 0.0)
    """Between these times others use the whole quota of the project."""
    window_s: float = 60.0
    admitted: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)
    levels: dict[str, tuple[float, float]] = field(default_factory=dict)

    def refuse(self, project: str, tokens: float, now: float) -> Refusal | None:
        """Count a call of `project`, or return why it is refused."""
        if self.other_users[0] <= now < self.other_users[1]:
            return Refusal("requests", self.rpm, self.other_users[1] - now)
        if self.kind == "bucket":
            return self._refuse_by_bucket(project, now)
        calls = self.admitted.setdefault(project, deque())
        start = now // self.window_s * self.window_s if self.kind == "fixed" else now - self.window_s
        while calls and (calls[0][0] < start or (self.kind == "rolling" and calls[0][0] <= start)):
            calls.popleft()
        rpm = self.rpm_of.get(project, self.rpm)
        if len(calls) >= rpm:
            return Refusal("requests", rpm, max(0.01, calls[0][0] + self.window_s - now))
        if self.tpm is not None and calls and sum(t for _, t in calls) + tokens > self.tpm:
            return Refusal("tokens", int(self.tpm), max(0.01, calls[0][0] + self.window_s - now))
        calls.append((now, tokens))
        return None

    def _refuse_by_bucket(self, project: str, now: float) -> Refusal | None:
        size = self.capacity or self.rpm
        level, at = self.levels.get(project, (float(size), now))
        level = min(size, level + (now - at) * self.rpm / self.window_s)
        if level < 1:
            self.levels[project] = (level, now)
            return Refusal("requests", self.rpm, (1 - level) * self.window_s / self.rpm)
        self.levels[project] = (level - 1, now)
        return None


class Shards(TypedDict):
    """Work, real project and configured pool of each shard."""

    work: dict[int, int]
    project: dict[int, str]
    pool: dict[int, str]


class Happening(NamedTuple):
    """Something that happens at a simulated time; `order` breaks ties."""

    at: float
    order: int
    what: str
    shard: int
    refusal: Refusal | None


@dataclass
class World:
    """Runs `work` (shard -> number of calls) to its end, and counts seconds, answers and refusals."""

    server: Server
    work: dict[int, int]
    project: dict[int, str]
    """Project of each shard's key, as the server knows it."""
    pool: dict[int, str]
    """Quota pool of each shard's key, as it is configured."""
    latency_s: float = 1.5
    jitter_s: float = 0.0
    """Longest time from sending a call to its arrival."""
    tokens: int = 300
    token_count_factor: float = 1.0
    """Factor by which the token counts in the answers are wrong. The server's quota counts the true tokens."""
    configured_rpm: int | None = None
    seed: int = 0
    start: float = 1_700_000_000.0
    refused: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    refusals: list[float] = field(default_factory=list)

    def run(self, state: RateLimitState | None = None, until_s: float = 1e6) -> World:
        """Simulate until all work is done, or for `until_s` seconds."""
        rng = random.Random(self.seed)
        state = state or RateLimitState(self.server.window_s)
        requests = self._start_shards(state)
        left: dict[int, int] = dict(self.work)
        events: list[Happening] = []
        n, now = 0, self.start
        while (any(left.values()) or events) and now - self.start < until_s:
            wake_ups = []
            for shard in rng.sample(sorted(left), len(left)):
                delay_s = 0.0
                while left[shard] and (delay_s := delay_before_send(state, requests[shard], now)) <= 0:
                    n += 1
                    left[shard] -= 1
                    state.apply(self._sent(n, shard, now))
                    arrival = now + rng.uniform(0, self.jitter_s)
                    heapq.heappush(events, Happening(arrival, n, "arrive", shard, None))
                if left[shard]:
                    wake_ups.append(now + min(delay_s, 1.0))
            next_event = [events[0].at] if events else []
            now = min([*wake_ups, *next_event], default=now)
            while events and events[0].at <= now:
                self._happen(state, events, left, heapq.heappop(events))
        self.seconds = now - self.start
        return self

    def _start_shards(self, state: RateLimitState) -> dict[int, SendRequest]:
        keys_in_pool = Counter(self.pool.values())
        requests = {}
        for shard, pool in self.pool.items():
            share = 1 / keys_in_pool[pool]
            state.apply(
                ShardStarted(
                    at=self.start,
                    shard=shard,
                    key=f"k{shard}",
                    pool=pool,
                    share=share,
                    quota_unshared=pool == f"k{shard}",
                    rpm=self.configured_rpm,
                )
            )
            requests[shard] = SendRequest(shard, f"k{shard}", pool, share, 500)
        return requests

    def _sent(self, n: int, shard: int, now: float) -> CallSent:
        return CallSent(at=now, call=str(n), shard=shard, key=f"k{shard}", pool=self.pool[shard], chars=500)

    def _happen(self, state: RateLimitState, events: list[Happening], left: dict[int, int], event: Happening) -> None:
        at, shard = event.at, event.shard
        if event.what == "arrive":
            refusal = self.server.refuse(self.project[shard], self.tokens, at)
            took = 0.05 if refusal else self.latency_s
            what = "refused" if refusal else "answered"
            heapq.heappush(events, Happening(at + took, event.order, what, shard, refusal))
        elif event.refusal is None:
            self.answers[shard] += 1
            counted = round(self.tokens * self.token_count_factor)
            state.apply(CallAnswered(at=at, call=str(event.order), tokens_in=counted, tokens_out=100))
        else:
            known = self.server.reports_limits
            self.refused += 1
            self.refusals.append(at - self.start)
            left[shard] += 1
            state.apply(
                CallRateLimited(
                    at=at,
                    call=str(event.order),
                    metric=event.refusal.metric if known else "requests",
                    limit=event.refusal.limit if known else None,
                    wait_s=event.refusal.wait_s if known else 6.0,
                )
            )


def separate_projects(keys: int, chunks: int) -> Shards:
    """Return shards of `keys` keys, each with a project of its own, and the chunks in equal parts."""
    size = -(-chunks // keys)
    work = {k: max(0, min(size, chunks - (k - 1) * size)) for k in range(1, keys + 1)}
    return {"work": work, "project": {k: f"k{k}" for k in work}, "pool": {k: f"k{k}" for k in work}}
