"""The state of the rate limiter, computed from the events of a run. It has no clock and does no I/O.

Every worker in a run applies the same events (see `event_log`). Keys in one project therefore share one quota window,
and all keys benefit when one key learns something about its quota. A restarted worker knows which calls were sent
before. A *window* is the period over which the server counts its per-minute quota. `admission` uses the state as
follows:

- The calls in a window never exceed the limit. The window is extended by a clock margin. This margin grows when the
  server refuses a call that is within a known limit.
- While its limit is unknown, a pool sends as many calls per window as some pool was granted before (`max_granted`).
  Only one pool at a time may exceed this number, with at most max(8, max_granted / 2) calls in flight beyond it.
  Finding out an unknown quota therefore costs a few refusals for the whole run, not a few per key.
- A refusal that reports the limit sets the limit for its pool. The most frequent limit of all pools is the *prior
  limit*, which applies to pools that have neither learned a limit nor been granted more calls. Quotas may differ
  between pools. From time to time, one pool may therefore send one call more than the prior limit. The time between
  two such tests grows whenever a test confirms the prior limit.
- A refusal may come although the pool's own calls are well below the limit. Then either other programs use the
  project, or the server counts in shorter windows. The pool pauses. If such refusals continue, the pool first spaces
  its calls evenly and then halves its limit, at most once per window. Successful calls undo these steps.
"""

from __future__ import annotations

import math
from collections import Counter, deque

from insurance_rag.rate_limit.events import (
    BatchAnswered,
    CallAnswered,
    CallEnded,
    CallFailed,
    CallRateLimited,
    CallSent,
    DailyQuotaExhausted,
    Event,
    KeyRejected,
    ShardStarted,
)
from insurance_rag.rate_limit.quota import KeyState, Metric, PackCounts, QuotaPool, SentCall, cost, next_midnight

# The clock margin is needed because calls arrive later than they are sent. The larger of the two minimums applies.
MIN_MARGIN_SHARE = 0.0125  # minimum as a fraction of the window
MIN_MARGIN_S = 0.06  # minimum in seconds; delays on a busy machine do not shrink with the window of a fast simulator
MAX_MARGIN_SHARE = 0.1  # maximum as a fraction of the window
MIN_TOKEN_FACTOR = 0.1  # smallest fraction of a token limit that is used after refusals within the limit
EXPLAINED_SHARE = 0.85  # our calls explain a refusal if they used more than this fraction of the limit


class RateLimitState:
    """What the workers in a run know about keys, quotas and calls.

    Only `apply`, `count_damaged_event` and `follow_clock` may change it.
    """

    def __init__(self, window_s: float = 60.0, gap_s: float = 0.2, max_in_flight: int = 64) -> None:
        """Create an empty state.

        `gap_s` is the minimum time between two calls on one key for a window of 60 s. For other windows, it is scaled
        in proportion.
        """
        self.window_s, self.max_in_flight = window_s, max_in_flight
        self.gap_s = gap_s * window_s / 60
        # All pools share one margin, because it depends on the connection to the server.
        self.clock_margin = self._min_margin = max(MIN_MARGIN_SHARE * window_s, MIN_MARGIN_S)
        self._margin_before, self._margin_changed_at = self.clock_margin, -math.inf
        self.pools: dict[str, QuotaPool] = {}
        self.keys: dict[str, KeyState] = {}
        self.in_flight: dict[str, SentCall] = {}
        self.usage_counts: dict[int, Counter[str]] = {}
        """Maps a shard number to its counters: calls, answers, tokens_in, requests_429, names of error classes ..."""
        self.key_of_shard: dict[int, str] = {}
        self.max_granted = 0
        """Largest number of calls that any pool was granted within one window."""
        self.prior_limits: dict[Metric, float] = {}
        self.prior_tested_at = -math.inf
        self.prior_confirmations = 0
        """Number of tests in a row that confirmed the prior request limit."""
        self.batch_entries = set[str]()
        """Ids of the answers from batch mode that were counted."""
        self.packs: dict[int, PackCounts] = {}
        """Outcomes by the number of chunks per call."""
        self.tokens_per_char = 1.0
        self.tokens_out_per_pair = 300.0
        """Moving average of the output tokens per requested pair."""
        self.latency_s = 0.0
        """Moving average of the time from sending a call to its answer."""
        self._latest_event_at = -math.inf
        self._merged_into: dict[str, str] = {}
        self._shared_pool_suspect: tuple[str, float] | None = None
        """Key and limit from the last suspicious refusal (see `_merge_shared_pools`)."""

    def apply(self, event: Event) -> None:
        """Update the state with one event.

        Of an event that ends an unknown call, only the tokens count. The event that started the call was damaged.
        """
        self._latest_event_at = max(self._latest_event_at, event.at)
        if isinstance(event, ShardStarted):
            self._start_shard(event)
        elif isinstance(event, CallSent):
            self._add_call(event)
        elif isinstance(event, BatchAnswered):
            self._count_batch(event)
        elif call := self.in_flight.pop(event.call, None):
            self._end_call(call, event)
        elif isinstance(event, CallAnswered | CallFailed):
            self._count_unknown_call(event)

    def count_damaged_event(self) -> None:
        """Count a call of every pool at the time of the latest event, because a damaged event may have recorded one."""
        for name, pool in self.pools.items():
            tokens = max((call.tokens for call in pool.calls), default=0.0)
            pool.calls.append(SentCall(self._latest_event_at, 0, tokens, shard=0, key="", pool=name, ordinal=0))

    def follow_clock(self, now: float) -> None:
        """Correct stored times if the wall clock was set back, so that calls do not wait too long.

        The clock counts as set back if the latest event is later than `now` by more than the clock margin. Calls with a
        time in the future then count as sent at `now`. They delay the next call by at most one window.
        """
        if self._latest_event_at <= now + self.clock_margin:
            return
        self._latest_event_at = now
        self._margin_changed_at = min(self._margin_changed_at, now)
        self.prior_tested_at = min(self.prior_tested_at, now)
        for key in self.keys.values():
            key.last_sent_at = min(key.last_sent_at, now)
        for call in self.in_flight.values():
            call.sent_at = min(call.sent_at, now)
        for pool in self.pools.values():
            pool.limit_times(now, self.window_s)

    def pool(self, name: str) -> QuotaPool:
        """Return the quota pool called `name`, or the pool that it was merged into."""
        return self.pools.setdefault(self._pool_name(name), QuotaPool())

    def known_limit(self, pool: QuotaPool, metric: Metric) -> float | None:
        """Return the pool's own limit, else the prior limit; None if both are unknown.

        The prior request limit does not apply to a pool that was already granted more calls.
        """
        if metric in pool.limits:
            return pool.limits[metric]
        prior = self.prior_limits.get(metric)
        return None if metric == "requests" and prior is not None and pool.granted > prior else prior

    def _pool_name(self, name: str) -> str:
        return self._merged_into.get(name, name)

    def _start_shard(self, event: ShardStarted) -> None:
        """Forget the shard's calls in flight, because they ended with the shard's previous process.

        Rejections of the shard's key and pool are forgotten too.
        """
        self.in_flight = {name: call for name, call in self.in_flight.items() if call.shard != event.shard}
        self.keys[event.key] = KeyState(last_sent_at=self.keys.get(event.key, KeyState()).last_sent_at)
        self.key_of_shard[event.shard] = event.key
        self._counts(event.shard, event.key)
        pool = self.pool(event.pool)
        pool.quota_unshared, pool.rpd_of_keys[event.key] = event.quota_unshared, event.rpd
        pool.no_quota_reason = pool.day_exhausted_until = None
        configured: dict[Metric, int | None] = {"requests": event.rpm, "tokens": event.tpm}
        for metric, value in configured.items():
            if value is not None and pool.configured_limits.get(metric) != value:
                pool.configured_limits[metric] = pool.limits[metric] = value

    def _add_call(self, event: CallSent) -> None:
        at, pool_name = event.at, self._pool_name(event.pool)
        pool = self.pool(pool_name)
        pool.forget(at - (1 + MAX_MARGIN_SHARE) * self.window_s)
        ordinal = sum(call.sent_at > at - self.window_s for call in pool.calls) + 1
        tokens = event.chars * self.tokens_per_char
        call = SentCall(
            at,
            event.chars,
            tokens,
            event.shard,
            event.key,
            pool_name,
            ordinal,
            event.chunks,
            event.pairs,
            event.timeout_s,
            event.is_retry,
            event.is_repair,
        )
        self.in_flight[event.call] = call
        pool.calls.append(call)
        pool.last_sent_at = self.keys.setdefault(event.key, KeyState()).last_sent_at = at
        if (prior := self._prior_request_limit(pool)) and ordinal > prior:
            self.prior_tested_at = at
        pool.count_day(at)
        counts = self._counts(event.shard, event.key)
        counts.update(calls=1, retries=int(event.is_retry), repair_calls=int(event.is_repair))
        counts.update({"repair_pairs_asked" if event.is_repair else "pairs_asked": event.pairs})

    def _count_batch(self, event: BatchAnswered) -> None:
        self.batch_entries.add(event.entry)
        counts = self._counts(event.shard, event.key)
        counts.update(answers=1, batch_tokens_in=event.tokens_in, batch_tokens_out=event.tokens_out)
        counts.update(pairs_asked=event.pairs)
        _count_outcome(counts, event, is_repair=False)

    def _end_call(self, call: SentCall, event: CallEnded) -> None:
        if isinstance(event, CallAnswered):
            self._use_answer(call, event)
        elif isinstance(event, CallFailed):
            self._counts(call.shard, call.key).update({"faults": 1, event.error: 1})
            self._count_tokens(call, event)
            if event.unreadable:
                self._count_pack(call, accepted=0)
        elif isinstance(event, KeyRejected):
            self._remove_refused(call)
            if event.whole_project:
                self.pool(call.pool).no_quota_reason = event.reason
            else:
                self.keys[call.key].rejection_reason = event.reason
        else:
            self._remove_refused(call)
            self._counts(call.shard, call.key).update(requests_429=1)
            if isinstance(event, DailyQuotaExhausted):
                self.pool(call.pool).day_exhausted_until = min(event.until, next_midnight(event.at))
            else:
                self._learn_from_refusal(call, event)

    def _use_answer(self, call: SentCall, event: CallAnswered) -> None:
        pool = self.pool(call.pool)
        self.keys[call.key].has_answered = True
        self.max_granted = max(self.max_granted, call.ordinal)
        if (prior := self._prior_request_limit(pool)) and call.ordinal > prior:
            self.prior_confirmations = 0
        pool.granted = max(pool.granted, call.ordinal)
        first = not self.latency_s
        if event.tokens_in and call.chars:
            ratio = event.tokens_in / call.chars
            self.tokens_per_char = ratio if first else 0.9 * self.tokens_per_char + 0.1 * ratio
            call.tokens = event.tokens_in
        took = max(0.0, event.at - call.sent_at)  # the difference is negative if the clock was set back meanwhile
        self.latency_s = took if first else 0.9 * self.latency_s + 0.1 * took
        # If the answer is late, the call may have arrived late. The server then counts the call from a later time.
        call.sent_at += min(max(0.0, took - self.latency_s), 2 * self._min_margin)
        counts = self._counts(call.shard, call.key)
        counts.update(answers=1)
        _count_outcome(counts, event, call.is_repair)
        self._count_tokens(call, event)
        self._count_pack(call, event.accepted)
        if event.tokens_out and call.pairs:
            self.tokens_out_per_pair += 0.1 * (event.tokens_out / call.pairs - self.tokens_out_per_pair)
        self._relax(pool, event.at)

    def _count_pack(self, call: SentCall, accepted: int) -> None:
        if call.is_retry or call.is_repair:
            return
        counts = self.packs.setdefault(call.chunks, PackCounts())
        counts.calls += 1
        counts.pairs += call.pairs
        counts.accepted += accepted

    def _count_tokens(self, call: SentCall, event: CallAnswered | CallFailed) -> None:
        counts = self._counts(call.shard, call.key)
        counts.update(tokens_in=event.tokens_in, tokens_out=event.tokens_out)
        if call.is_repair:
            counts.update(repair_tokens_in=event.tokens_in, repair_tokens_out=event.tokens_out)

    def _count_unknown_call(self, event: CallAnswered | CallFailed) -> None:
        """Count the tokens of a call without a start, so that a budget includes them. The call's id has its shard."""
        shard = event.call.partition("-")[0]
        if shard.isdecimal() and (counts := self.usage_counts.get(int(shard))) is not None:
            counts.update(tokens_in=event.tokens_in, tokens_out=event.tokens_out)

    def _counts(self, shard: int, key: str) -> Counter[str]:
        self.key_of_shard.setdefault(shard, key)
        return self.usage_counts.setdefault(shard, Counter())

    def _relax(self, pool: QuotaPool, at: float) -> None:
        """After a successful call, undo precautions step by step and raise an estimated limit."""
        if at - self._margin_changed_at >= 2 * self.window_s:
            self.clock_margin, self._margin_changed_at = max(self._min_margin, 0.8 * self.clock_margin), at
        if pool.limit_is_estimate and at - pool.limit_learned_at >= self.window_s:
            pool.limits["requests"] = math.floor(pool.limits["requests"] * 1.25) + 1
            pool.limit_learned_at = at
        if pool.throttle_factor < 1 and at - pool.throttled_at >= self.window_s:
            pool.throttle_factor, pool.throttled_at = min(1.0, pool.throttle_factor * 1.25), at
        if pool.token_safety_factor < 1 and at - pool.limit_learned_at >= 5 * self.window_s:
            pool.token_safety_factor, pool.limit_learned_at = min(1.0, pool.token_safety_factor * 1.1), at
        calm = pool.throttle_factor == 1 and at - pool.unexplained_refusal_at >= 5 * self.window_s
        if pool.evenly_spaced and calm:
            pool.evenly_spaced = False

    def _learn_from_refusal(self, call: SentCall, event: CallRateLimited) -> None:
        """Learn the limit from a refusal and react to the cause of the refusal (see the module docstring)."""
        pool, metric, at = self.pool(call.pool), event.metric, event.at
        if call.sent_at <= pool.limit_learned_at:
            return
        used = pool.used(metric, call.sent_at - self.window_s, call.sent_at)
        known = self.known_limit(pool, metric)
        if event.limit is not None:
            if metric == "requests" and known == event.limit and metric not in pool.limits:
                self.prior_confirmations += 1
            pool.limits[metric] = event.limit
            self.prior_limits[metric] = self._most_frequent_limit(metric, event.limit)
            pool.limit_is_estimate = False
        elif known is None or pool.limit_is_estimate:
            pool.limits[metric], pool.limit_is_estimate = max(1.0, used), metric == "requests"
        limit = pool.limits.get(metric, known or 1.0)
        explained = used + cost(call, metric) > EXPLAINED_SHARE * limit
        if event.limit is None or not explained:
            pool.paused_until = max(pool.paused_until, at + min(event.wait_s, self.window_s))
        if not explained:
            self._handle_unexplained(pool, call, limit, metric, known == limit, used, at)
        elif known == limit and metric == "tokens":  # our estimates were slightly too low
            pool.token_safety_factor *= 0.97
        elif known == limit and call.ordinal <= limit:  # otherwise the call tested a prior limit
            self._widen_clock_margin(pool, event.wait_s, at)
        pool.limit_learned_at = self.prior_tested_at = at

    def _handle_unexplained(
        self, pool: QuotaPool, call: SentCall, limit: float, metric: Metric, is_known: bool, used: float, at: float
    ) -> None:
        """React to a refusal of a pool that was well below its limit, according to its `used` quota."""
        suspect = self._shared_pool_suspect
        merged = self._merge_shared_pools(pool, call, limit, metric)
        if metric == "tokens" and is_known and suspect is self._shared_pool_suspect:
            # The server counts more tokens than we do. Lower our limit, so that our counts explain the refusal.
            factor = (used + cost(call, metric)) / limit
            pool.token_safety_factor = max(MIN_TOKEN_FACTOR, min(pool.token_safety_factor, factor))
        elif not merged:
            self._throttle(pool, at)

    def _most_frequent_limit(self, metric: Metric, newest: float) -> float:
        """Return the limit that most pools have; among equally frequent ones, the newest."""
        limits = Counter(pool.limits[metric] for pool in self.pools.values() if metric in pool.limits)
        return max(limits, key=lambda limit: (limits[limit], limit == newest))

    def _remove_refused(self, call: SentCall) -> None:
        """Remove a refused call from its window, because it does not count toward the quota."""
        calls = self.pool(call.pool).calls
        if call in calls:
            calls.remove(call)

    def _widen_clock_margin(self, pool: QuotaPool, wait_s: float, at: float) -> None:
        """Widen the clock margin and pause the pool. A refusal within a known limit is a sign of clock skew."""
        late = wait_s if wait_s < MAX_MARGIN_SHARE * self.window_s else self.clock_margin
        if at - self._margin_changed_at > self.window_s / 20:  # otherwise the previous refusal had the same cause
            self._margin_before, self._margin_changed_at = self.clock_margin, at
        self.clock_margin = min(max(self.clock_margin, self._margin_before + late), MAX_MARGIN_SHARE * self.window_s)
        pool.paused_until = max(pool.paused_until, at + late)

    def _throttle(self, pool: QuotaPool, at: float) -> None:
        """Space the calls evenly after a second unexplained refusal, and halve the limit after later ones."""
        repeated = at - pool.unexplained_refusal_at < 2 * self.window_s
        pool.unexplained_refusal_at = at
        if not repeated:
            return
        if not pool.evenly_spaced:
            pool.evenly_spaced = True
        elif at - pool.throttled_at >= self.window_s:
            pool.throttle_factor, pool.throttled_at = max(pool.throttle_factor / 2, 1 / 64), at

    def _merge_shared_pools(self, pool: QuotaPool, call: SentCall, limit: float, metric: Metric) -> bool:
        """Merge the pools of keys without a project if refusals show that they share one quota.

        Return whether they were merged. A refusal is suspicious if all these pools together had used up the limit, but
        had not exceeded it, when the refused call was sent. Two suspicious refusals in a row show that the keys belong
        to one project if the refusals have the same limit but different keys.
        """
        unshared = {name: other for name, other in self.pools.items() if other.quota_unshared}
        since = call.sent_at - self.window_s
        together = sum(other.used(metric, since, call.sent_at) for other in unshared.values())
        if not pool.quota_unshared or len(unshared) < 2 or not EXPLAINED_SHARE * limit <= together <= limit:
            return False
        before, self._shared_pool_suspect = self._shared_pool_suspect, (call.key, limit)
        if before is None or before[0] == call.key or before[1] != limit:
            return False
        calls = sorted((sent for other in unshared.values() for sent in other.calls), key=lambda sent: sent.sent_at)
        self._merged_into.update(dict.fromkeys(unshared, call.pool))
        self.pools = {name: other for name, other in self.pools.items() if name not in unshared or other is pool}
        pool.calls, pool.quota_unshared = deque(calls), False
        pool.last_sent_at = max((sent.sent_at for sent in calls), default=pool.last_sent_at)
        return True

    def _prior_request_limit(self, pool: QuotaPool) -> float | None:
        """Return the prior request limit if the pool has not learned a request limit itself; else None."""
        return None if "requests" in pool.limits else self.known_limit(pool, "requests")


def _count_outcome(counts: Counter[str], event: CallAnswered | BatchAnswered, is_repair: bool) -> None:
    """Count the chunks, pairs and models of one answer."""
    if is_repair:
        counts.update(repair_pairs_accepted=event.accepted)
    else:
        counts.update(chunks=event.chunks, pairs_accepted=event.accepted)
    if event.model:
        counts.update({f"model:{event.model}": 1, "other_model": int(event.model != event.asked_model)})
