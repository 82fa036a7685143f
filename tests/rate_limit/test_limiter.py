"""The limiter with a clock that sleeping moves forward."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BudgetExceededError,
    IncompleteError,
    InvalidInputError,
    KeyRejectedError,
    PipelineError,
)
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.rate_limit.backoff import quota_window_s, rate_limit_wait_s, retry_wait_s
from insurance_rag.rate_limit.limiter import AnswerCounts, CallSize, Limiter, NextCall, StopCheck
from insurance_rag.rate_limit.quota import PackCounts
from insurance_rag.rate_limit.state import RateLimitState

CONFIG = GenerationConfig(quota_window_s=60)
KEY = ApiKey.model_validate({"id": "k1", "key": "secret", "rpm": 10})
CALL = CallSize(chars=100, chunks=2, pairs=6)
SHARD = Shard(shard=1, of=1, key_id="k1", pool="k1", share=1.0, chunk_ids=["a"], rpm=10)


class Clock:
    """A clock for the limiter. `sleep` returns at once and moves the time. `runner` is the event loop of the test."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class FixedCall:
    """A call whose content does not depend on other workers."""

    def __init__(self, size: CallSize) -> None:
        self._size = size

    def size(self, state: RateLimitState, now: float) -> CallSize | None:
        return self._size

    def claim(self, size: CallSize) -> bool:
        return True


@pytest.fixture
def clock() -> Iterator[Clock]:
    with asyncio.Runner() as runner:
        yield Clock(runner)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rate_limit.jsonl"


@pytest.fixture
def limiter(path: Path, clock: Clock) -> Iterator[Limiter]:
    limiter = make_limiter(path, clock)
    yield limiter
    limiter.close()


def make_limiter(path: Path, clock: Clock, stop_check: StopCheck = lambda state, request: None) -> Limiter:
    return Limiter(path, SHARD, KEY, CONFIG, stop_check, clock=clock, sleep=clock.sleep)


def acquire(limiter: Limiter, clock: Clock) -> str:
    call = try_acquire(limiter, clock, FixedCall(CALL))
    assert call is not None
    return call


def try_acquire(limiter: Limiter, clock: Clock, next_call: NextCall) -> str | None:
    return clock.runner.run(asyncio.wait_for(limiter.acquire(next_call), timeout=20))


def answer_calls(limiter: Limiter, clock: Clock, n: int) -> list[float]:
    """Answer `n` calls, each after a second, and return when they were sent."""
    times = []
    for _ in range(n):
        call = acquire(limiter, clock)
        times.append(clock.now)
        clock.now += 1
        limiter.answered(call, AnswerCounts(50, 10, chunks=2, accepted=5))
    return times


def test_the_calls_keep_to_the_configured_quota(limiter: Limiter, clock: Clock) -> None:
    times = answer_calls(limiter, clock, 35)
    assert all(sum(t - 60 < x <= t for x in times) <= 10 for t in times)
    assert times[-1] - times[0] == pytest.approx(3 * 60 + 4, abs=4)
    assert limiter.state.usage_counts[1] == {
        "calls": 35, "answers": 35, "tokens_in": 1750, "tokens_out": 350, "retries": 0, "repair_calls": 0,
        "chunks": 70, "pairs_asked": 210, "pairs_accepted": 175,
    }  # fmt: skip
    assert limiter.state.packs == {2: PackCounts(calls=35, pairs=210, accepted=175)}


def test_a_restarted_limiter_continues_the_window(path: Path, clock: Clock) -> None:
    first = make_limiter(path, clock)
    started = clock.now
    answer_calls(first, clock, 10)
    first.close()
    second = make_limiter(path, clock)
    acquire(second, clock)
    assert clock.now - started >= 60
    second.close()


@pytest.mark.parametrize("back_s", [5.0, 3600.0])
def test_a_clock_that_is_set_back_delays_one_window_at_most(limiter: Limiter, clock: Clock, back_s: float) -> None:
    answer_calls(limiter, clock, 10)
    clock.now -= back_s
    started = clock.now
    acquire(limiter, clock)
    assert 0 < clock.now - started <= 62


def test_a_rejected_key_stops_the_shard(limiter: Limiter, clock: Clock) -> None:
    limiter.key_rejected(acquire(limiter, clock), "API key not valid; replace the key")
    with pytest.raises(KeyRejectedError, match="key k1: API key not valid; replace the key, then run"):
        acquire(limiter, clock)
    assert isinstance(limiter.stopped, KeyRejectedError)


def test_the_stop_check_sees_the_usage(path: Path, clock: Clock) -> None:
    def check(state: RateLimitState, size: CallSize) -> PipelineError | None:
        assert (size.chars, size.chunks, size.pairs) == (100, 2, 6)
        return BudgetExceededError("spent") if state.usage_counts[1]["tokens_out"] >= 30 else None

    limiter = make_limiter(path, clock, check)
    assert len(answer_calls(limiter, clock, 3)) == 3
    with pytest.raises(BudgetExceededError):
        acquire(limiter, clock)
    limiter.close()


def test_a_key_that_is_always_refused_gives_up(limiter: Limiter, clock: Clock) -> None:
    started = clock.now
    with pytest.raises(IncompleteError, match=r"every call on key k1 was refused in 11 quota windows of 60 s"):
        for _ in range(1000):
            limiter.rate_limited(acquire(limiter, clock), "requests", None, None)
    assert 600 < clock.now - started < 900


def test_time_without_calls_does_not_count_as_refused(limiter: Limiter, clock: Clock) -> None:
    limiter.rate_limited(acquire(limiter, clock), "requests", None, 1.0)
    clock.now += 700
    assert try_acquire(limiter, clock, Work(0)) is None
    limiter.rate_limited(acquire(limiter, clock), "requests", None, 1.0)
    assert acquire(limiter, clock)


def test_the_key_must_be_the_one_of_the_shard(path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"shard 1/1 · k1 was given the key 'k2'; use the key 'k1'"):
        Limiter(path, SHARD, KEY.model_copy(update={"id": "k2"}), CONFIG)


def test_calls_use_the_present_project_of_the_key(path: Path, clock: Clock) -> None:
    key = KEY.model_copy(update={"project": "p"})
    limiter = Limiter(path, SHARD, key, CONFIG, clock=clock, sleep=clock.sleep)
    acquire(limiter, clock)
    assert {name: len(pool.calls) for name, pool in limiter.state.pools.items()} == {"p": 1}
    limiter.close()


def test_failures_and_batches_are_counted(limiter: Limiter, clock: Clock) -> None:
    limiter.failed(acquire(limiter, clock), "BlockedAnswerError", (5, 0))
    for _ in range(2):  # an answer that is fetched twice counts once
        limiter.batch_answered("a", 6, AnswerCounts(7, 3, chunks=2, accepted=4))
    counts = limiter.state.usage_counts[1]
    assert (counts["faults"], counts["BlockedAnswerError"], counts["tokens_in"]) == (1, 1, 5)
    assert (counts["answers"], counts["batch_tokens_in"], counts["batch_tokens_out"]) == (1, 7, 3)
    assert (counts["chunks"], counts["pairs_accepted"]) == (2, 4)


def test_an_unreadable_answer_lowers_the_acceptance_of_its_size_but_a_blocked_one_does_not(
    limiter: Limiter, clock: Clock
) -> None:
    limiter.failed(acquire(limiter, clock), "BlockedAnswerError", (5, 0))
    assert limiter.state.packs == {}
    limiter.failed(acquire(limiter, clock), "InvalidAnswerError", (5, 9), unreadable=True)
    assert limiter.state.packs == {2: PackCounts(calls=1, pairs=6, accepted=0)}


class Work:
    """Work that other workers shrink: the call has one chunk less each time it is planned."""

    def __init__(self, chunks: int, *, lost_claims: int = 0) -> None:
        self.chunks, self.lost_claims = chunks, lost_claims
        self.claimed: list[int] = []

    def size(self, state: RateLimitState, now: float) -> CallSize | None:
        self.chunks -= 1
        return CallSize(chars=100, chunks=self.chunks) if self.chunks > 0 else None

    def claim(self, size: CallSize) -> bool:
        if self.lost_claims:
            self.lost_claims -= 1
            return False
        self.claimed.append(size.chunks)
        return True


def test_a_call_is_planned_again_when_another_worker_was_faster(limiter: Limiter, clock: Clock) -> None:
    work = Work(6, lost_claims=2)
    assert try_acquire(limiter, clock, work)
    assert work.claimed == [3]
    assert [call.chunks for call in limiter.state.in_flight.values()] == [3]


def test_a_worker_whose_work_others_finish_stops_waiting_for_the_quota(limiter: Limiter, clock: Clock) -> None:
    answer_calls(limiter, clock, 10)
    started, work = clock.now, Work(5)
    assert try_acquire(limiter, clock, work) is None
    assert work.claimed == []
    assert clock.now - started < 10
    assert len(limiter.state.in_flight) == 0


def test_one_of_several_waiting_calls_goes_out_at_a_time(path: Path) -> None:
    limiter = Limiter(path, SHARD, KEY, GenerationConfig(quota_window_s=0.6))

    async def together() -> list[str]:
        async def one() -> str:
            call = await limiter.acquire(FixedCall(CallSize(chars=10)))
            assert call is not None
            limiter.answered(call, AnswerCounts(1, 1))
            return call

        return list(await asyncio.gather(*(one() for _ in range(15))))

    started = time.monotonic()
    assert len(set(asyncio.run(together()))) == 15
    assert time.monotonic() - started > 0.6
    limiter.close()


def test_waits_scale_with_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 5 <= rate_limit_wait_s(0) <= 7 and rate_limit_wait_s(9) == 30
    assert 0.5 <= rate_limit_wait_s(0, 6.0) <= 0.7
    assert 0.75 <= retry_wait_s(0) <= 1.25 and 0.3 <= retry_wait_s(2, 6.0) <= 0.5
    monkeypatch.setenv("GEMINI_QUOTA_WINDOW_S", "6")
    assert quota_window_s(GenerationConfig()) == 6
    assert quota_window_s(CONFIG) == 60
