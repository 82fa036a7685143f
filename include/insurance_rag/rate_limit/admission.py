"""Decide whether a call may be sent now. The time is a parameter, so tests need no clock.

`blocking_error` and `delay_before_send` first call `RateLimitState.follow_clock`, in case the wall clock was set back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from insurance_rag.core.errors import KeyRejectedError, PipelineError, QuotaExhaustedError
from insurance_rag.rate_limit.quota import KeyState, Metric, QuotaPool, SentCall, day_of, next_midnight
from insurance_rag.rate_limit.state import MAX_MARGIN_SHARE, RateLimitState

# Maximum number of calls in flight on a key that has received no answer yet. A rejected key
# therefore costs at most two requests.
UNTESTED_IN_FLIGHT = 2
# If the limit is known, this many calls may be in flight in addition to those needed to use the full limit. If the
# limit is unknown, at least this many calls in flight may exceed the number that was granted before (see `_may_probe`).
BURST = 8
ALWAYS_GRANTED = 4  # calls per window that every quota is assumed to allow
FIRST_PRIOR_TEST = 1 / 8  # time between two tests of the prior limit, as a fraction of the window
PRIOR_TEST_GROWTH = 1.5  # factor by which this time grows with each test that confirms the prior limit


@dataclass(frozen=True)
class SendRequest:
    """A call that a shard wants to send."""

    shard: int
    key: str
    """Id of the API key."""
    pool: str
    share: float
    """Fraction of the pool's quota that is meant for this shard."""
    chars: int
    """Number of characters in the request. The token count is estimated from it."""


def blocking_error(state: RateLimitState, request: SendRequest, now: float) -> PipelineError | None:
    """Return an error if the key is rejected, its project has no quota, or its daily quota is used up; else None."""
    state.follow_clock(now)
    pool, rejection = state.pool(request.pool), state.keys[request.key].rejection_reason
    if rejection:
        return KeyRejectedError(f"key {request.key}: {rejection}, then run the same command again")
    if pool.no_quota_reason:
        return KeyRejectedError(f"project {request.pool}: {pool.no_quota_reason}, then run the same command again")
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
    """Return the seconds until this call may be sent; 0 means now.

    It is not known when calls in flight will end. If the call must wait for them, return a short delay. After this
    delay, the caller should try again.
    """
    state.follow_clock(now)
    pool, key = state.pool(request.pool), state.keys[request.key]
    pool.forget(now - (1 + MAX_MARGIN_SHARE) * state.window_s)
    limit = current_limit(state, pool, "requests", now)
    short_delay = state.window_s / 240
    in_flight = calls_in_flight(state, now)
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
            at = max(at, pool.last_sent_at + short_delay)  # the shard's share is used up: other shards go first
    elif not _may_probe(state, pool, in_flight, now):
        return short_delay
    if token_limit := current_limit(state, pool, "tokens", now):
        tokens = request.chars * state.tokens_per_char
        at = max(at, pool.free_at("tokens", tokens, token_limit, now, horizon))
    return at - now


def current_limit(state: RateLimitState, pool: QuotaPool, metric: Metric, now: float) -> float | None:
    """Return the pool's effective limit per window; None while the limit is unknown."""
    limit = state.known_limit(pool, metric)
    if limit is None:
        return None
    if metric == "tokens":
        return limit * pool.token_safety_factor
    if metric not in pool.limits and _may_test_prior(state, pool, limit, now):
        limit += 1
    return max(1.0, math.floor(limit * pool.throttle_factor))


def _may_test_prior(state: RateLimitState, pool: QuotaPool, limit: float, now: float) -> bool:
    """Return whether the pool may exceed the prior limit by one call. Only one pool at a time may do so."""
    interval = min(2.0, FIRST_PRIOR_TEST * PRIOR_TEST_GROWTH**state.prior_confirmations) * state.window_s
    return now - state.prior_tested_at >= interval and pool.used("requests", now - state.window_s) >= limit


def _may_probe(state: RateLimitState, pool: QuotaPool, in_flight: list[SentCall], now: float) -> bool:
    """Return whether a pool with an unknown limit may send a call.

    The pool may send as many calls per window as any pool was granted before. It may exceed that number only while no
    other pool exceeds it.
    """
    granted = max(ALWAYS_GRANTED, state.max_granted)
    if pool.used("requests", now - state.window_s) < granted:
        return True
    probers = [state.pool(call.pool) for call in in_flight if call.ordinal > granted]
    return len(probers) < max(BURST, state.max_granted // 2) and all(prober is pool for prober in probers)


def calls_in_flight(state: RateLimitState, now: float) -> list[SentCall]:
    """Return the calls in flight. Calls older than their timeout are left out, because their process must have died."""
    return [call for call in state.in_flight.values() if call.sent_at > now - call.timeout_s]


def _max_in_flight(state: RateLimitState, key: KeyState, limit: float | None) -> int:
    if not key.has_answered:
        return min(UNTESTED_IN_FLIGHT, state.max_in_flight)
    if limit is None:
        return state.max_in_flight
    # Little's law: calls in flight = rate * latency. The factor of 2 leaves room for slower answers.
    return min(state.max_in_flight, math.ceil(2 * limit / state.window_s * state.latency_s) + BURST)


def _gap_s(state: RateLimitState, limit: float | None) -> float:
    return state.gap_s if limit is None else min(state.gap_s, state.window_s / limit / 2)
