"""Choose how many chunks share one call.

Packing saves requests where they are scarcer than tokens. It must not cost quality: the number of chunks per call grows
only as long as the fraction of accepted pairs stays within the noise of calls with a single chunk. Some calls with a
single chunk, the control calls, are therefore made throughout a run. All workers count the outcomes of all calls
(`RateLimitState.packs`), so that they grow and shrink together.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from insurance_rag.rate_limit.admission import ALWAYS_GRANTED, current_limit
from insurance_rag.rate_limit.quota import PackCounts, QuotaPool
from insurance_rag.rate_limit.state import RateLimitState

FIRST_SIZE = 4
"""Number of chunks per call before anything is known about the quality."""
SIZES = (2, 4, 8, 16)
"""Smallest numbers of chunks in the groups that are compared."""
MAX_SIZE = SIZES[-1]
"""Maximum number of chunks per call. Answers for more chunks take long, and a failed call loses more."""
CALLS_BEFORE_GROWTH = 2
"""Number of answered calls of one size before the size is doubled."""
CONTROL_EVERY = 12
"""One of this many calls of a worker is a control call."""
SUSPICIOUS_LOSS = 0.1
"""Loss of accepted pairs at which more control calls are made."""
ENOUGH_CONTROLS = 8
"""Number of control calls after which no additional ones are made."""
TOLERANCE = 0.02
"""Loss of accepted pairs, as a fraction of the requested pairs, that packing may cost."""
Z = 2.326
"""Quantile of the normal distribution: a loss counts only if it is significant at the level 1 %, one-sided. The level
is low because the groups are compared before every call."""
DESIGN_EFFECT = 2.0
"""Factor on the variance for pairs that are not independent."""
SOON = 0.05
"""Longest wait for a call of the best size, as a fraction of the quota window."""
REPAIR_TOKEN_SHARE = 0.32
"""Maximum fraction of a token limit that one repair call may use, so that several fit into a window."""
MIN_REST = 0.25
"""Minimum size of a call that uses the rest of a token limit, as a fraction of the best size."""
RESERVE = 0.25
"""Fraction of the calls per window that first answers leave to retries and repairs."""


def approved_size(packs: Mapping[int, PackCounts]) -> int:
    """Return the largest number of chunks per call that is currently allowed.

    Sizes are compared in groups: 2-3, 4-7, 8-15 and 16 chunks. Of the groups with CALLS_BEFORE_GROWTH calls, the
    largest one that is not worse than the control calls counts. The next size is allowed while it is untested.
    """
    control = packs.get(1, PackCounts())
    tested = [size for size in SIZES if not is_untested(packs, size)]
    good = next((size for size in reversed(tested) if not is_worse(_group(packs, size), control)), None)
    if good is None:
        return tested[0] // 2 if tested else FIRST_SIZE
    larger = 2 * good
    return larger if larger <= MAX_SIZE and larger not in tested else good


def wants_control(state: RateLimitState, calls_made: int) -> bool:
    """Return whether the next call of a worker that has made `calls_made` calls should be a control call.

    If packed calls seem to lose many pairs, but too few control calls exist to be sure, every second call is one.
    """
    if calls_made % CONTROL_EVERY == 0:
        return True
    packs, control = state.packs, state.packs.get(1, PackCounts())
    controls = control.calls + sum(call.chunks == 1 for call in state.in_flight.values())
    seems_worse = any(
        not is_untested(packs, size) and _rate(control) - _rate(_group(packs, size)) > SUSPICIOUS_LOSS for size in SIZES
    )
    return seems_worse and controls < ENOUGH_CONTROLS and calls_made % 2 == 1


def is_untested(packs: Mapping[int, PackCounts], size: int) -> bool:
    """Return whether too few calls of this size were answered to judge its quality."""
    return size > 1 and _group(packs, size).calls < CALLS_BEFORE_GROWTH


def is_worse(packed: PackCounts, control: PackCounts) -> bool:
    """Return whether packed calls lose significantly more pairs than control calls, and more than TOLERANCE.

    This is a one-sided z-test for the difference of two proportions with a margin (Farrington and Manning 1990, with
    unpooled variances). The variance is doubled, because the pairs of one call succeed and fail together. Half an
    accepted and half a rejected pair are added to each group, so that the variance is positive. Without control calls,
    a group is worse if it loses more than half of its pairs.
    """
    if not packed.pairs:
        return False
    if not control.pairs:
        return packed.accepted < packed.pairs / 2
    lost = _rate(control) - _rate(packed)
    variance = sum(_rate(group) * (1 - _rate(group)) / (group.pairs + 1) for group in (packed, control))
    return lost - TOLERANCE > Z * math.sqrt(DESIGN_EFFECT * variance)


def needed_size(state: RateLimitState, pool: QuotaPool, share: float, open_chunks: int, now: float) -> int:
    """Return how many chunks each call must carry to request `open_chunks` within the current quota window.

    The number of calls per window is the pool's limit, or the number that it was granted before. `share` is the
    fraction of it that this worker may use. A part of the calls, RESERVE, is kept for retries and repairs.
    """
    limit = current_limit(state, pool, "requests", now) or max(ALWAYS_GRANTED, pool.granted, state.max_granted)
    calls = share * limit
    left = calls - share * pool.used("requests", now - state.window_s)
    usable = (left if left >= 1 else calls) - RESERVE * calls
    return max(1, math.ceil(open_chunks / max(1.0, usable)))


@dataclass(frozen=True)
class TokenCost:
    """Estimated input tokens of a call: `head` for the instructions and `chunk` for each chunk."""

    head: float
    chunk: float

    def of(self, n_chunks: int) -> float:
        """Return the tokens of a call with this number of chunks."""
        return self.head + n_chunks * self.chunk


def size_within_tokens(
    state: RateLimitState, pool: QuotaPool, cost: TokenCost, open_chunks: int, largest: int, now: float
) -> int | None:
    """Return the best number of chunks per call if tokens are too scarce for calls with one chunk each, else None.

    The instructions are paid for once per call. A window therefore holds most chunks if it is divided among as few
    calls of equal size as possible, with at most `largest` chunks each.
    """
    limit = current_limit(state, pool, "tokens", now)
    if limit is None or open_chunks * cost.of(1) <= tokens_left(state, pool, limit, now):
        return None
    calls = 1
    while (per_window := math.floor((limit - calls * cost.head) / cost.chunk)) > calls * largest:
        calls += 1
    return max(1, math.ceil(per_window / calls))


def tokens_left(state: RateLimitState, pool: QuotaPool, limit: float, now: float) -> float:
    """Return how many tokens the pool may still send in the current window."""
    return limit - pool.used("tokens", now - state.window_s - state.clock_margin)


def fitting_size(
    state: RateLimitState, pool: QuotaPool, call_tokens: Callable[[int], float], n_chunks: int, now: float
) -> int:
    """Return how many of `n_chunks` chunks to ask about in a call, so that it fits into the token limit.

    `call_tokens` returns the tokens of a call with a number of chunks. All chunks are asked about if the call can be
    sent soon. Otherwise the rest of the window is used for a smaller call, if that has at least MIN_REST of the chunks.
    """
    limit = current_limit(state, pool, "tokens", now)
    if limit is None:
        return n_chunks
    whole = _largest_size(n_chunks, call_tokens, limit)
    horizon = state.window_s + state.clock_margin
    sent_at = pool.free_at("tokens", call_tokens(whole), limit, now, horizon)
    if sent_at - now <= SOON * state.window_s:
        return whole
    rest = _largest_size(n_chunks, call_tokens, tokens_left(state, pool, limit, now))
    return rest if rest >= MIN_REST * n_chunks and call_tokens(rest) <= limit else whole


def _largest_size(n_chunks: int, call_tokens: Callable[[int], float], tokens: float) -> int:
    """Return the largest number of chunks, at least 1, whose call has at most `tokens` tokens."""
    return max(1, bisect_right(range(1, n_chunks + 1), tokens, key=call_tokens))


def _group(packs: Mapping[int, PackCounts], size: int) -> PackCounts:
    members = [counts for n, counts in packs.items() if size <= n < 2 * size]
    return PackCounts(sum(c.calls for c in members), sum(c.pairs for c in members), sum(c.accepted for c in members))


def _rate(counts: PackCounts) -> float:
    return (counts.accepted + 0.5) / (counts.pairs + 1)


def proven_size(packs: Mapping[int, PackCounts]) -> int | None:
    """Return the largest number of chunks per call that was tested and is not worse than the control calls, if any."""
    control = packs.get(1, PackCounts())
    good = (n for n in reversed(SIZES) if not is_untested(packs, n) and not is_worse(_group(packs, n), control))
    return next(good, None)
