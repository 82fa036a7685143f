"""May this call go out now? Decided from the pace alone: pure, so that it is tested without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from insurance_rag.core.errors import KeyRejectedError, PipelineError, QuotaExhaustedError
from insurance_rag.rate_limit.quota import Call, Key, Metric, Pool, day_of, next_midnight
from insurance_rag.rate_limit.state import LARGEST_MARGIN, RateLimitState

UNTESTED_IN_FLIGHT = 2  # of a key that has not answered yet: a dead key costs two requests at most
BURST = 8  # calls that may be in flight beyond what the pace needs, or what is known to be granted
SURELY_GRANTED = 4  # calls a minute: no known quota is smaller


@dataclass(frozen=True)
class SendRequest:
    """Who wants to send how much."""

    shard: int
    key: str
    pool: str
    share: float
    chars: int


def stop(pace: RateLimitState, ask: SendRequest, now: float) -> PipelineError | None:
    """Why this key may send nothing more in this run."""
    pool, dead = pace.pool(ask.pool), pace.keys[ask.key].dead
    if dead:
        return KeyRejectedError(f"key {ask.key}: {dead}; replace the key, then the same command resumes")
    if pool.zero:
        return KeyRejectedError(f"project {ask.pool}: {pool.zero}; use another model or project, then resume")
    until = pool.day_until
    if until is None and pool.rpd and pool.day == day_of(now) and pool.day_sent >= pool.rpd:
        until = next_midnight(now)
    if until is None or now >= until:
        return None
    resets = datetime.fromtimestamp(until, UTC)
    when = f"it returns at {resets:%Y-%m-%d %H:%M} UTC, resume then"
    return QuotaExhaustedError(f"project {ask.pool}: the day's quota is used up; {when}", resets)


def wait(pace: RateLimitState, ask: SendRequest, now: float) -> float:
    """Seconds until this call may go out, 0 now; an estimate where it hangs on answers that are under way."""
    pool, key = pace.pool(ask.pool), pace.keys[ask.key]
    pool.forget(now - (1 + LARGEST_MARGIN) * pace.window)
    limit = limit_of(pace, pool, "requests")
    moment = pace.window / 240
    in_flight = _in_flight(pace, now)
    if sum(call.shard == ask.shard for call in in_flight) >= _most_in_flight(pace, key, limit):
        return moment
    at = max(now, pool.paused_until, key.last_sent + _gap(pace, limit))
    horizon = pace.window + pace.margin
    if limit is not None:
        at = max(at, pool.free_at("requests", 1, limit, now, horizon))
        if pool.spread:
            at = max(at, pool.last_sent + pace.window / limit)
        if ask.share < 1 and sum(call.shard == ask.shard for call in pool.calls) >= math.ceil(ask.share * limit):
            at = max(at, pool.last_sent + moment)  # the others of the pool first
    elif not _may_scout(pace, pool, in_flight, now):
        return moment
    if tokens := limit_of(pace, pool, "tokens"):
        at = max(at, pool.free_at("tokens", ask.chars * pace.tokens_per_char, tokens, now, horizon))
    return at - now


def limit_of(pace: RateLimitState, pool: Pool, metric: Metric) -> float | None:
    """What the pool is paced by now; None while nobody knows."""
    limit = pace.known(pool, metric)
    if limit is None:
        return None
    if metric == "tokens":
        return limit * pool.token_safety
    if metric not in pool.limits and _may_probe(pace, pool, limit):
        limit += 1
    return max(1.0, math.floor(limit * pool.factor))


def _may_probe(pace: RateLimitState, pool: Pool, limit: float) -> bool:
    """One call beyond the prior, by one pool, every second window."""
    if not pool.calls:
        return False
    newest = pool.calls[-1].at
    return newest - pace.probed_at >= 2 * pace.window and pool.used("requests", newest - pace.window) >= limit


def _may_scout(pace: RateLimitState, pool: Pool, in_flight: list[Call], now: float) -> bool:
    """Follow what some pool was granted; beyond it goes one pool at a time, with few calls in flight."""
    granted = max(SURELY_GRANTED, pace.proven)
    if pool.used("requests", now - pace.window) < granted:
        return True
    scouts = [pace.pool(call.pool) for call in in_flight if call.ordinal > granted]
    return len(scouts) < max(BURST, pace.proven // 2) and all(scout is pool for scout in scouts)


def _in_flight(pace: RateLimitState, now: float) -> list[Call]:
    """Without those whose process died unheard: no call outlives its timeout."""
    return [call for call in pace.open.values() if call.at > now - pace.timeout]


def _most_in_flight(pace: RateLimitState, key: Key, limit: float | None) -> int:
    if not key.tested:
        return UNTESTED_IN_FLIGHT
    if limit is None:
        return pace.max_in_flight
    # Little's law, twice: as many as the pace needs at this latency, and room for a burst.
    return min(pace.max_in_flight, math.ceil(2 * limit / pace.window * pace.latency) + BURST)


def _gap(pace: RateLimitState, limit: float | None) -> float:
    return pace.gap if limit is None else min(pace.gap, pace.window / limit / 2)
