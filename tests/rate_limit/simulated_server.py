"""A world without clock or network: shards that ask a RateLimitState, a server that counts a minute in one of three ways."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from dataclasses import dataclass, field

from insurance_rag.rate_limit.admission import SendRequest, wait
from insurance_rag.rate_limit.state import RateLimitState


@dataclass
class Server:
    """Counts arrivals by project. `told` False: a 429 without details."""

    rpm: int
    tpm: float | None = None
    kind: str = "rolling"
    told: bool = True
    capacity: int | None = None  # of a bucket
    foreign: tuple[float, float] = (0.0, 0.0)  # others of the project use all of it between these times
    window: float = 60.0
    admitted: dict[str, deque] = field(default_factory=dict)
    level: dict[str, tuple[float, float]] = field(default_factory=dict)

    def refuse(self, project: str, tokens: float, now: float) -> tuple[str, int, float] | None:
        """None, or (metric, limit, seconds to wait)."""
        if self.foreign[0] <= now < self.foreign[1]:
            return "requests", self.rpm, self.foreign[1] - now
        if self.kind == "bucket":
            return self._drip(project, now)
        calls = self.admitted.setdefault(project, deque())
        start = now // self.window * self.window if self.kind == "fixed" else now - self.window
        while calls and (calls[0][0] < start or (self.kind == "rolling" and calls[0][0] <= start)):
            calls.popleft()
        if len(calls) >= self.rpm:
            return "requests", self.rpm, max(0.01, calls[0][0] + self.window - now)
        if self.tpm is not None and calls and sum(t for _, t in calls) + tokens > self.tpm:
            return "tokens", int(self.tpm), max(0.01, calls[0][0] + self.window - now)
        calls.append((now, tokens))
        return None

    def _drip(self, project: str, now: float) -> tuple[str, int, float] | None:
        size = self.capacity or self.rpm
        level, at = self.level.get(project, (float(size), now))
        level = min(size, level + (now - at) * self.rpm / self.window)
        if level < 1:
            self.level[project] = (level, now)
            return "requests", self.rpm, (1 - level) * self.window / self.rpm
        self.level[project] = (level - 1, now)
        return None


@dataclass
class World:
    """Runs `work` (shard -> calls to make) to its end; figures stand in `seconds`, `refused`, `answers`."""

    server: Server
    work: dict[int, int]
    project: dict[int, str]  # as the server knows it
    pool: dict[int, str]  # as the client was told
    latency: float = 1.5
    jitter: float = 0.0  # between the decision to send and the arrival
    tokens: float = 300.0
    rpm_told: int | None = None
    seed: int = 0
    start: float = 1_700_000_000.0
    refused: int = 0
    answers: Counter = field(default_factory=Counter)
    seconds: float = 0.0
    refusals: list[float] = field(default_factory=list)

    def run(self, pace: RateLimitState | None = None, until: float = 1e6) -> World:
        rng = random.Random(self.seed)
        pace = pace or RateLimitState(self.server.window)
        asks = {}
        keys_in = Counter(self.pool.values())
        for shard, pool in self.pool.items():
            quota = {"rpm": self.rpm_told, "tpm": None, "rpd": None, "own": pool == f"k{shard}"}
            who = {"shard": shard, "key": f"k{shard}", "pool": pool, "share": 1 / keys_in[pool]}
            pace.apply({"e": "open", "t": self.start, **who, **quota})
            asks[shard] = SendRequest(shard, f"k{shard}", pool, 1 / keys_in[pool], 500)
        left, events, n, now = dict(self.work), [], 0, self.start
        while (any(left.values()) or events) and now - self.start < until:
            waits = []
            for shard in rng.sample(sorted(left), len(left)):
                while left[shard] and (pause := wait(pace, asks[shard], now)) <= 0:
                    n += 1
                    left[shard] -= 1
                    sent = {"id": str(n), "shard": shard, "key": f"k{shard}", "pool": self.pool[shard]}
                    pace.apply({"e": "sent", "t": now, **sent, "chars": 500, "again": False})
                    arrival = now + rng.uniform(0, self.jitter)
                    heapq.heappush(events, (arrival, n, "arrive", shard, None))
                if left[shard]:
                    waits.append(now + min(pause, 1.0))
            coming = min([events[0][0]] if events else [], default=None)
            now = min([*waits, *([coming] if coming is not None else [])], default=now)
            while events and events[0][0] <= now:
                self._happen(pace, events, left, *heapq.heappop(events))
        self.seconds = now - self.start
        return self

    def _happen(
        self, pace: RateLimitState, events: list, left: dict, at: float, n: int, what: str, shard: int, fact
    ) -> None:
        if what == "arrive":
            refusal = self.server.refuse(self.project[shard], self.tokens, at)
            took = 0.05 if refusal else self.latency
            heapq.heappush(events, (at + took, n, "refused" if refusal else "ok", shard, refusal))
        elif what == "ok":
            self.answers[shard] += 1
            pace.apply({"e": "ok", "t": at, "id": str(n), "in": self.tokens, "out": 100})
        else:
            metric, limit, wait = fact if self.server.told else ("requests", None, 6.0)
            self.refused += 1
            self.refusals.append(at - self.start)
            left[shard] += 1
            pace.apply({"e": "refused", "t": at, "id": str(n), "metric": metric, "limit": limit, "wait": wait})


def separate(keys: int, chunks: int) -> dict:
    """Keys of a project each, the chunks in equal parts."""
    size = -(-chunks // keys)
    work = {k: max(0, min(size, chunks - (k - 1) * size)) for k in range(1, keys + 1)}
    own = {k: f"k{k}" for k in work}
    return {"work": work, "project": own, "pool": own}
