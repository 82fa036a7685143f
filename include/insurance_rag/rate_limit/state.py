"""What a run's calls tell of its quotas. A state machine over events: pure, no clock, no I/O, no key.

Every process of a run folds the same events (see `pace_log`), so keys of one project share one window, what one key
learns about the quota is every key's prior, and a restarted worker knows what it sent.

    {"e": "open",    "t", "shard", "key", "pool", "own", "share", "rpm", "tpm", "rpd"}   a shard starts (again)
    {"e": "sent",    "t", "id", "shard", "chars", "again", "repair"}
    {"e": "ok",      "t", "id", "in", "out"}              answered; tokens
    {"e": "refused", "t", "id", "metric", "limit", "wait"}  429 of a minute's quota; limit None where it was not said
    {"e": "day",     "t", "id", "until"}                  429 of a day's quota
    {"e": "dead",    "t", "id", "why", "pool"}            the key, or with pool: true its whole project, is refused
    {"e": "fault",   "t", "id", "why", "in", "out"}       anything else that ended the call
    {"e": "batch",   "t", "shard", "in", "out"}         an answer of batch mode, for the books

Times are seconds of time.time(). A *window* is the server's minute. What is learnt, and decided by it (`turn`):
- A rolling log of sends; never more than the limit in the window plus a margin that refusals at its edge teach.
- While a limit is unknown, one pool scouts: at most max(8, proven / 2) of its calls go beyond what some pool has been
  granted in a window. The others follow what is proven, so a quota costs the run a few 429s, not a few a key.
- A 429 that names its limit sets it, here and as a prior of the pools that know nothing; every second window one pool
  may send one call beyond a prior, for quotas may differ.
- A 429 that the log cannot explain (others use the project, a bucket smaller than the minute): pause as told, then
  space the calls evenly, then halve, at most once a window; all of it is taken back while calls succeed.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Any

from insurance_rag.rate_limit.quota import Call, Key, Metric, Pool, cost

Event = dict[str, Any]

FIRST_MARGIN = 0.0125  # of a window: send and arrival times differ
LEAST_MARGIN_S = 0.06  # but what a busy machine adds to that does not shrink with a sped-up minute
LARGEST_MARGIN = 0.1
EXPLAINED = 0.85  # a refusal is explained when the window was at least so full


class RateLimitState:
    """What all workers of a run know, folded from their events with `apply`; `turn` decides by it."""

    def __init__(
        self, window_s: float = 60.0, gap_s: float = 0.2, timeout_s: float = 60.0, max_in_flight: int = 64
    ) -> None:
        self.window, self.timeout, self.max_in_flight = window_s, timeout_s, max_in_flight
        self.gap = gap_s * window_s / 60  # a sped-up simulator shrinks every duration alike
        # Of the way to the server, so all pools share it.
        self.margin = self._first_margin = max(FIRST_MARGIN * window_s, LEAST_MARGIN_S)
        self._margin_before, self._margin_at = self.margin, -math.inf
        self.pools: dict[str, Pool] = {}
        self.keys: dict[str, Key] = {}
        self.open: dict[str, Call] = {}
        self.books: dict[int, Counter[str]] = {}  # by shard
        self.key_of: dict[int, str] = {}
        self.proven = 0  # most calls any pool was granted within a window
        self.prior: dict[Metric, float] = {}
        self.probed_at = -math.inf
        self.tokens_per_char = 1.0
        self.latency = 0.0
        self._alias: dict[str, str] = {}
        self._suspicion: tuple[str, float] | None = None  # pool and limit of the last refusal that all pools explain

    def apply(self, event: Event) -> None:
        if event["e"] in {"open", "sent", "batch"}:
            getattr(self, f"_{event['e']}")(event)
        elif call := self.open.pop(event["id"], None):
            getattr(self, f"_{event['e']}")(call, event)

    def pool(self, name: str) -> Pool:
        return self.pools.setdefault(self._name(name), Pool())

    def _name(self, pool: str) -> str:
        return self._alias.get(pool, pool)

    def _open(self, e: Event) -> None:
        """A (re)started shard: its calls in flight died with it; its key, even a refused one, gets another try."""
        self.open = {i: c for i, c in self.open.items() if c.shard != e["shard"]}
        self.keys[e["key"]] = Key(last_sent=self.keys.get(e["key"], Key()).last_sent)
        self.key_of[e["shard"]] = e["key"]
        self.books.setdefault(e["shard"], Counter())
        pool = self.pool(e["pool"])
        pool.own, pool.rpd, pool.zero, pool.day_until = e["own"], e["rpd"], None, None
        told: dict[Metric, float] = {"requests": e["rpm"], "tokens": e["tpm"]}
        for metric, value in told.items():
            if value is not None and pool.told.get(metric) != value:
                pool.told[metric] = pool.limits[metric] = value

    def _sent(self, e: Event) -> None:
        key_name, t = e["key"], e["t"]
        pool_name = self._name(e["pool"])
        pool = self.pool(pool_name)
        pool.forget(t - (1 + LARGEST_MARGIN) * self.window)
        ordinal = sum(c.at > t - self.window for c in pool.calls) + 1
        tokens, repair = e["chars"] * self.tokens_per_char, e.get("repair", False)
        call = Call(t, e["chars"], tokens, e["shard"], key_name, pool_name, ordinal, repair)
        self.open[e["id"]] = call
        pool.calls.append(call)
        pool.last_sent = self.keys[key_name].last_sent = t
        if (prior := self.by_prior(pool)) and ordinal > prior:
            self.probed_at = t
        pool.count_day(t)
        self.books[e["shard"]].update(calls=1, retries=int(e["again"]), repair_calls=int(repair))

    def _ok(self, call: Call, e: Event) -> None:
        pool = self.pool(call.pool)
        self.keys[call.key].tested = True
        self.proven = max(self.proven, call.ordinal)
        if (prior := self.by_prior(pool)) and call.ordinal > prior:
            pool.beyond_prior = True
        if e["in"]:
            ratio = e["in"] / call.chars
            self.tokens_per_char = ratio if not self.latency else 0.9 * self.tokens_per_char + 0.1 * ratio
            call.tokens = e["in"]
        took = e["t"] - call.at
        self.latency = took if not self.latency else 0.9 * self.latency + 0.1 * took
        # What came back late may have arrived late: its place in the server's window begins then.
        call.at += min(max(0.0, took - self.latency), 2 * self._first_margin)
        self.books[call.shard].update(answers=1)
        self._pay(call, e)
        self._recover(pool, e["t"])

    def _recover(self, pool: Pool, t: float) -> None:
        if t - self._margin_at >= 2 * self.window:
            self.margin, self._margin_at = max(self._first_margin, 0.8 * self.margin), t
        if pool.guessed and t - pool.learned_at >= self.window:
            pool.limits["requests"] = math.floor(pool.limits["requests"] * 1.25) + 1
            pool.learned_at = t
        if pool.factor < 1 and t - pool.halved_at >= self.window:
            pool.factor, pool.halved_at = min(1.0, pool.factor * 1.25), t
        if pool.spread and pool.factor == 1 and t - pool.unexplained_at >= 5 * self.window:
            pool.spread = False

    def _fault(self, call: Call, e: Event) -> None:
        self.books[call.shard].update({"faults": 1, e["why"]: 1})
        self._pay(call, e)

    def _pay(self, call: Call, e: Event) -> None:
        self.books[call.shard].update(tokens_in=e["in"], tokens_out=e["out"])
        if call.repair:
            self.books[call.shard].update(repair_tokens_in=e["in"], repair_tokens_out=e["out"])

    def _batch(self, e: Event) -> None:
        self.books[e["shard"]].update(answers=1, batch_tokens_in=e["in"], batch_tokens_out=e["out"])

    def _dead(self, call: Call, e: Event) -> None:
        self._take_out(call)
        if e["pool"]:
            self.pool(call.pool).zero = e["why"]
        else:
            self.keys[call.key].dead = e["why"]

    def _day(self, call: Call, e: Event) -> None:
        self._take_out(call)
        self.books[call.shard].update(requests_429=1)
        self.pool(call.pool).day_until = e["until"]

    def _refused(self, call: Call, e: Event) -> None:
        self._take_out(call)
        self.books[call.shard].update(requests_429=1)
        pool, metric, t = self.pool(call.pool), e["metric"], e["t"]
        if call.at <= pool.learned_at:
            return
        used = pool.used(metric, call.at - self.window, call.at)
        known = self.known(pool, metric)
        if e["limit"] is not None:
            pool.limits[metric] = self.prior[metric] = e["limit"]
            pool.guessed = False
        elif known is None or pool.guessed:
            pool.limits[metric], pool.guessed = max(1.0, used), metric == "requests"
        limit = pool.limits.get(metric, known or 1.0)
        explained = used + cost(call, metric) > EXPLAINED * limit
        if e["limit"] is None or not explained:
            pool.paused_until = max(pool.paused_until, t + min(e["wait"], self.window))
        if not explained and not self._same_project(pool, call, limit, metric):
            self._unexplained(pool, t)
        elif explained and known == limit and call.ordinal <= limit:  # else it was a probe
            self._at_the_edge(pool, metric, e["wait"], t)
        pool.learned_at = self.probed_at = t

    def _take_out(self, call: Call) -> None:
        """A refused call does not count against the quota."""
        calls = self.pool(call.pool).calls
        if call in calls:
            calls.remove(call)

    def _at_the_edge(self, pool: Pool, metric: Metric, wait: float, t: float) -> None:
        """The window was full by our own log: the server's clock saw it a little longer than we thought."""
        late = wait if wait < LARGEST_MARGIN * self.window else self.margin
        if t - self._margin_at > self.window / 20:  # else several pools met the same hitch
            self._margin_before, self._margin_at = self.margin, t
        self.margin = min(max(self.margin, self._margin_before + late), LARGEST_MARGIN * self.window)
        pool.paused_until = max(pool.paused_until, t + late)
        if metric == "tokens":
            pool.token_safety *= 0.97

    def _unexplained(self, pool: Pool, t: float) -> None:
        again = t - pool.unexplained_at < 2 * self.window
        pool.unexplained_at = t
        if not again:
            return
        if not pool.spread:
            pool.spread = True
        elif t - pool.halved_at >= self.window:
            pool.factor, pool.halved_at = max(pool.factor / 2, 1 / 64), t

    def _same_project(self, pool: Pool, call: Call, limit: float, metric: Metric) -> bool:
        """Keys without a told project that are refused when all of them together reach the limit share a project.

        Two such refusals of two keys make them one pool. They never can have been granted more than the limit.
        """
        own = {name: p for name, p in self.pools.items() if p.own}
        together = sum(p.used(metric, call.at - self.window, call.at) for p in own.values())
        if not pool.own or len(own) < 2 or not EXPLAINED * limit <= together <= limit:
            return False
        before, self._suspicion = self._suspicion, (call.key, limit)
        if before is None or before[0] == call.key or before[1] != limit:
            return False
        calls = sorted((c for p in own.values() for c in p.calls), key=lambda c: c.at)
        for name in own:
            self._alias[name] = call.pool
            self.pools[name] = pool
        pool.calls, pool.own = deque(calls), False
        self.pools = {name: p for name, p in self.pools.items() if name not in self._alias or name == call.pool}
        pool.last_sent = calls[-1].at
        return True

    def known(self, pool: Pool, metric: Metric) -> float | None:
        """The pool's own limit, else what another pool learnt, unless this one was granted more."""
        if metric in pool.limits:
            return pool.limits[metric]
        return None if metric == "requests" and pool.beyond_prior else self.prior.get(metric)

    def by_prior(self, pool: Pool) -> float | None:
        """The limit of a pool that knows of none itself, by what another pool learnt."""
        return None if "requests" in pool.limits else self.known(pool, "requests")
