"""The number of chunks per call: it grows with good answers, shrinks with bad ones, and keeps to the quotas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rate_limit.events import answered, sent, started

from insurance_rag.generation.packing import (
    CALLS_BEFORE_GROWTH,
    FIRST_SIZE,
    MAX_SIZE,
    TokenCost,
    approved_size,
    fitting_size,
    is_untested,
    is_worse,
    needed_size,
    proven_size,
    size_within_tokens,
)
from insurance_rag.rate_limit.quota import PackCounts
from insurance_rag.rate_limit.state import RateLimitState


def counts(size: int, calls: int, accepted: float) -> PackCounts:
    """Return the outcomes of calls with three pairs per chunk, of which the fraction `accepted` is good."""
    pairs = 3 * size * calls
    return PackCounts(calls, pairs, round(accepted * pairs))


def packs(accepted: dict[int, float], calls: int = 40) -> dict[int, PackCounts]:
    return {size: counts(size, calls, share) for size, share in accepted.items()}


def test_the_first_packs_are_small() -> None:
    assert approved_size({}) == FIRST_SIZE
    assert is_untested({}, FIRST_SIZE) and not is_untested({}, 1)


def test_the_size_is_doubled_after_a_few_calls_that_are_as_good() -> None:
    found, size = {1: counts(1, 2, 0.9)}, FIRST_SIZE
    while size < MAX_SIZE:
        found[size] = counts(size, CALLS_BEFORE_GROWTH - 1, 0.9)
        assert approved_size(found) == size
        found[size] = counts(size, CALLS_BEFORE_GROWTH, 0.9)
        size *= 2
        assert approved_size(found) == size
    found[MAX_SIZE] = counts(MAX_SIZE, 100, 0.9)
    assert approved_size(found) == MAX_SIZE


def test_only_a_tested_size_is_proven() -> None:
    assert proven_size({}) is None
    assert proven_size(packs({1: 0.9, 4: 0.7})) is None
    assert proven_size(packs({1: 0.9, 4: 0.9, 8: 0.7})) == 4
    assert (proven_size(packs({1: 0.9, 4: 0.9})), approved_size(packs({1: 0.9, 4: 0.9}))) == (4, 8)


@pytest.mark.parametrize(
    ("accepted", "size"),
    [
        ({1: 0.9, 4: 0.9, 8: 0.9, 16: 0.7}, 8),
        ({1: 0.9, 4: 0.9, 8: 0.7}, 4),
        ({1: 0.9, 4: 0.7}, 2),
        ({1: 0.9, 2: 0.7, 4: 0.7}, 1),
        ({1: 0.9, 5: 0.7}, 2),  # sizes are compared in groups: 5 belongs to 4-7
        ({1: 0.6, 4: 0.6, 8: 0.6}, 16),  # only the difference to the control calls counts
        ({1: 0.9, 4: 0.89, 8: 0.89}, 16),
    ],
)
def test_the_size_shrinks_to_the_largest_that_is_not_worse_than_control_calls(
    accepted: dict[int, float], size: int
) -> None:
    assert approved_size(packs(accepted)) == size


def test_a_loss_counts_only_if_it_is_significant() -> None:
    assert not is_worse(counts(4, 1, 0.75), counts(1, 2, 1.0))
    assert is_worse(counts(4, 30, 0.75), counts(1, 60, 0.95))
    assert not is_worse(counts(4, 30_000, 0.94), counts(1, 30_000, 0.95)), "a loss within the tolerance"


def test_without_control_calls_a_size_is_worse_if_most_pairs_are_lost() -> None:
    assert not is_worse(counts(4, 2, 0.5), PackCounts())
    assert is_worse(counts(4, 2, 0.4), PackCounts())
    assert not is_worse(PackCounts(), counts(1, 2, 1.0))


@given(
    st.dictionaries(
        st.integers(1, MAX_SIZE), st.builds(counts, st.integers(1, MAX_SIZE), st.integers(0, 50), st.floats(0, 1))
    )
)
def test_every_history_gives_a_valid_size(history: dict[int, PackCounts]) -> None:
    assert approved_size(history) in (1, 2, 4, 8, 16)


def state_of(calls: int, *, rpm: int | None = None, tpm: int | None = None) -> RateLimitState:
    """Return a state in which this number of calls was answered at the time 0."""
    state = RateLimitState()
    state.apply(started(rpm=rpm, tpm=tpm))
    for n in range(calls):
        state.apply(sent(str(n), 0.0, chars=1000))
        state.apply(answered(str(n), 1.0, tokens_in=500))
    return state


@pytest.mark.parametrize(
    ("rpm", "calls", "share", "open_chunks", "size"),
    [
        (100, 0, 1.0, 60, 1),  # the quota is enough for calls with one chunk
        (100, 0, 1.0, 750, 10),  # a quarter of the calls is kept for retries and repairs
        (100, 0, 0.5, 750, 20),  # two keys share the quota
        (100, 50, 1.0, 250, 10),  # what is left of the window
        (10, 10, 1.0, 75, 10),  # the window is used up: the next one counts
        (100, 0, 1.0, 0, 1),
    ],
)
def test_a_call_carries_as_many_chunks_as_the_window_needs(
    rpm: int, calls: int, share: float, open_chunks: int, size: int
) -> None:
    state = state_of(calls, rpm=rpm)
    assert needed_size(state, state.pool("p"), share, open_chunks, 2.0) == size


def test_an_unknown_quota_counts_as_what_was_granted_before() -> None:
    state = state_of(0)
    assert needed_size(state, state.pool("p"), 1.0, 30, 2.0) == 10
    granted = state_of(40)
    assert needed_size(granted, granted.pool("p"), 1.0, 30, 100.0) == 1


@pytest.mark.parametrize(
    ("open_chunks", "largest", "size"),
    [
        (5, 16, None),  # the tokens of the window are enough for calls with one chunk
        (100, 16, 8),  # two calls with 8 chunks: the instructions are paid for twice
        (100, 4, 3),  # four calls with 3 chunks
    ],
)
def test_scarce_tokens_are_divided_among_few_calls(open_chunks: int, largest: int, size: int | None) -> None:
    state, cost = state_of(1, tpm=10_000), TokenCost(head=1000, chunk=500)
    assert size_within_tokens(state, state.pool("p"), cost, open_chunks, largest, 100.0) == size
    unlimited = state_of(1)
    assert size_within_tokens(unlimited, unlimited.pool("p"), cost, open_chunks, largest, 100.0) is None


@pytest.mark.parametrize(
    ("used_calls", "n_chunks", "size"),
    [
        (0, 16, 16),
        (0, 40, 18),  # a call may not exceed the limit
        (14, 4, 4),  # 3,000 tokens are left: the call fits
        (14, 16, 4),  # a smaller call uses the rest of the window
        (14, 20, 18),  # the rest is too small for that: the call waits for the next window
    ],
)
def test_a_call_is_fitted_into_the_tokens_of_the_window(used_calls: int, n_chunks: int, size: int) -> None:
    state = state_of(used_calls, tpm=10_000)
    assert fitting_size(state, state.pool("p"), lambda n: 1000 + 500 * n, n_chunks, 2.0) == size
    unlimited = state_of(used_calls)
    assert fitting_size(unlimited, unlimited.pool("p"), lambda n: 1000 + 500 * n, n_chunks, 2.0) == n_chunks
