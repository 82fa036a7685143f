"""Decide whether a call may go out now. The functions only read the state, so tests need no clock.

Both functions first adapt the state to a wall clock that was set back (`RateLimitState.follow_clock`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from insurance_rag.core.errors import KeyRejectedError, PipelineError, QuotaExhaustedError
from insurance_rag.rate_limit.quota import KeyState, Metric, QuotaPool, SentCall, day_of, next_midnight
from insurance_rag.rate_limit.state import MAX_MARGIN_SHARE, RateLimitState

UNTESTED_IN_FLIGHT = 2  # calls in flight of a key that has not answered yet, so a rejected key costs two requests
BURST = 8  # calls in flight beyond what the limit needs, or beyond what is known to be granted
ALWAYS_GRANTED = 4  # calls per minute: no known quota is smaller


@dataclass(frozen=True)
class SendRequest:
    """A call that a shard wants to send."""

    shard: int
    key: str
    """Id of the API key."""
    pool: str
    share: float
    """The shard's share of the quota of its pool."""
    chars: int
    """Characters of the request, from which its tokens are estimated."""


def blocking_error(state: RateLimitState, request: SendRequest, now: float) -> PipelineError | None:
    """Return the error that forbids every further call of this key in this run; None if calls are allowed."""
    state.follow_clock(now)
    pool, rejection = state.pool(request.pool), state.keys[request.key].rejection_reason
    if rejection:
        return KeyRejectedError(f"key {request.key}: {rejection}; replace the key, then run the same command again")
    if pool.no_quota_reason:
        return KeyRejectedError(
            f"project {request.pool}: {pool.no_quota_reason}; use another model or project, then run the same command "
            "again"
        )
    until = pool.day_exhausted_until
    if until is None and pool.rpd and pool.day == day_of(now) and pool.calls_today >= pool.rpd:
        until = next_midnight(now)
    if until is None or now >= until:
        return None
    resets_at = datetime.fromtimestamp(until, UTC)
    return QuotaExhaustedError(
        f"project {request.pool}: the daily quota is used up; run the same command again after "
        f"{resets_at:%Y-%m-%d %H:%M} UTC, when it is reset",
        resets_at,
    )


def delay_before_send(state: RateLimitState, request: SendRequest, now: float) -> float:
    """Return the seconds until this call may go out; 0 means now.

    If the decision depends on answers that are still under way, the result is a short delay after which to call this
    function again.
    """
    state.follow_clock(now)
    pool, key = state.pool(request.pool), state.keys[request.key]
    pool.forget(now - (1 + MAX_MARGIN_SHARE) * state.window_s)
    limit = current_limit(state, pool, "requests")
    short_delay = state.window_s / 240
    in_flight = _calls_in_flight(state, now)
    if sum(call.shard == request.shard for call in in_flight) >= _max_in_flight(state, key, limit):
        return short_delay
    at = max(now, pool.paused_until, key.last_sent_at + _gap_s(state, limit))
    horizon = state.window_s + state.clock_margin
    if limit is not None:
        at = max(at, pool.free_at("requests", 1, limit, now, horizon))
        if pool.evenly_spaced:
            at = max(at, pool.last_sent_at + state.window_s / limit)
        calls_of_shard = sum(call.shard == request.shard for call in pool.calls)
        if request.share < 1 and calls_of_shard >= math.ceil(request.share * limit):
            at = max(at, pool.last_sent_at + short_delay)  # the other shards of the pool go first
    elif not _may_probe(state, pool, in_flight, now):
        return short_delay
    if token_limit := current_limit(state, pool, "tokens"):
        tokens = request.chars * state.tokens_per_char
        at = max(at, pool.free_at("tokens", tokens, token_limit, now, horizon))
    return at - now


def current_limit(state: RateLimitState, pool: QuotaPool, metric: Metric) -> float | None:
    """Return the limit per window that the pool uses now; None while it is unknown."""
    limit = state.known_limit(pool, metric)
    if limit is None:
        return None
    if metric == "tokens":
        return limit * pool.token_safety_factor
    if metric not in pool.limits and _may_test_prior(state, pool, limit):
        limit += 1
    return max(1.0, math.floor(limit * pool.throttle_factor))


def _may_test_prior(state: RateLimitState, pool: QuotaPool, limit: float) -> bool:
    """Return whether the pool may send one call more than the prior limit: once per two windows, one pool."""
    if not pool.calls:
        return False
    newest = pool.calls[-1].sent_at
    tested_long_ago = newest - state.prior_tested_at >= 2 * state.window_s
    return tested_long_ago and pool.used("requests", newest - state.window_s) >= limit


def _may_probe(state: RateLimitState, pool: QuotaPool, in_flight: list[SentCall], now: float) -> bool:
    """Return whether a pool with an unknown limit may send: up to what some pool was granted, or as the only prober."""
    granted = max(ALWAYS_GRANTED, state.max_granted)
    if pool.used("requests", now - state.window_s) < granted:
        return True
    probers = [state.pool(call.pool) for call in in_flight if call.ordinal > granted]
    return len(probers) < max(BURST, state.max_granted // 2) and all(prober is pool for prober in probers)


def _calls_in_flight(state: RateLimitState, now: float) -> list[SentCall]:
    """Return the calls in flight. A call older than its timeout belongs to a process that was killed."""
    return [call for call in state.in_flight.values() if call.sent_at > now - state.timeout_s]


def _max_in_flight(state: RateLimitState, key: KeyState, limit: float | None) -> int:
    if not key.has_answered:
        return UNTESTED_IN_FLIGHT
    if limit is None:
        return state.max_in_flight
    # Little's law: calls in flight = rate * latency. Twice that many leave room for slower answers.
    return min(state.max_in_flight, math.ceil(2 * limit / state.window_s * state.latency_s) + BURST)


def _gap_s(state: RateLimitState, limit: float | None) -> float:
    return state.gap_s if limit is None else min(state.gap_s, state.window_s / limit / 2)
