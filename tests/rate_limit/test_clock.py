"""A wall clock that is set to another time while a run is under way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rate_limit.events import answered, sent, started
from tests.rate_limit.simulated_server import Server, World, separate_projects

from insurance_rag.core.errors import QuotaExhaustedError
from insurance_rag.rate_limit.admission import SendRequest, blocking_error, delay_before_send
from insurance_rag.rate_limit.clock import steady_clock
from insurance_rag.rate_limit.event_log import RateLimitLog
from insurance_rag.rate_limit.events import CallRateLimited, DailyQuotaExhausted
from insurance_rag.rate_limit.quota import next_midnight
from insurance_rag.rate_limit.state import RateLimitState

REQUEST = SendRequest(shard=1, key="k1", pool="p", share=1.0, chars=500)
WINDOW_S = 60.0
NOW = 1_767_225_600.0


def full_window(rpm: int = 10) -> RateLimitState:
    """Return the state after a window in which every call of the quota was answered."""
    state = RateLimitState()
    state.apply(started(at=NOW, rpm=rpm))
    for i in range(rpm):
        state.apply(sent(str(i), NOW + i))
        state.apply(answered(str(i), NOW + i + 0.9))
    return state


@pytest.mark.parametrize("back_s", [1.0, 30.0, 3600.0, 400 * 86400.0])
def test_the_next_call_waits_one_window_at_most(back_s: float) -> None:
    state, now = full_window(), NOW + 10 - back_s
    delay_s = delay_before_send(state, REQUEST, now)
    assert 0 < delay_s <= WINDOW_S + state.clock_margin
    assert delay_before_send(state, REQUEST, now + delay_s) == pytest.approx(0, abs=1e-6)


def test_a_step_within_the_clock_margin_changes_nothing() -> None:
    state, unchanged = full_window(), full_window()
    state.follow_clock(NOW + 9.9 - state.clock_margin)
    assert state.pool("p") == unchanged.pool("p")
    state.follow_clock(NOW + 5)
    assert state.pool("p") != unchanged.pool("p")


def test_calls_that_were_sent_before_the_step_still_count() -> None:
    """After the step the quota of a window is not exceeded, whatever the server's clock says."""
    state, now, times = full_window(), NOW - 3600, []
    for i in range(20):
        while (delay_s := delay_before_send(state, REQUEST, now)) > 0:
            now += delay_s
        times.append(now)
        state.apply(sent(f"later-{i}", now))
        state.apply(answered(f"later-{i}", now + 0.9))
    assert times[0] >= NOW - 3600 + WINDOW_S
    assert all(sum(t - WINDOW_S < x <= t for x in times) <= 10 for t in times)


def test_an_answer_after_the_step_does_not_make_the_latency_negative() -> None:
    state = RateLimitState()
    state.apply(started(at=NOW, rpm=10))
    for i in range(20):
        state.apply(sent(str(i), NOW + i))
        state.apply(answered(str(i), NOW - 3600))
    assert state.latency_s == 0
    assert delay_before_send(state, REQUEST, NOW + 3600) == 0


def test_a_pause_and_a_daily_quota_end_by_the_new_clock() -> None:
    state = full_window()
    state.apply(sent("a", NOW + 11))
    state.apply(CallRateLimited(at=NOW + 11.1, call="a", metric="requests", limit=None, wait_s=40.0))
    state.apply(sent("b", NOW + 12))
    state.apply(DailyQuotaExhausted(at=NOW + 12, call="b", until=next_midnight(NOW)))
    earlier = NOW - 7 * 86400
    error = blocking_error(state, REQUEST, earlier)
    assert isinstance(error, QuotaExhaustedError) and error.resets_at
    assert error.resets_at.timestamp() == next_midnight(earlier)
    tomorrow = next_midnight(earlier)
    assert blocking_error(state, REQUEST, tomorrow) is None
    assert delay_before_send(state, REQUEST, tomorrow) == 0


@settings(max_examples=25, deadline=None)
@given(back_s=st.floats(0.5, 1e6), after_s=st.floats(5, 150), seed=st.integers(0, 9))
def test_a_run_is_finished_after_the_clock_was_set_back(back_s: float, after_s: float, seed: int) -> None:
    shards = separate_projects(3, 90)
    state = RateLimitState()
    first = World(Server(rpm=10), **shards, seed=seed).run(state, until_s=after_s)
    rest = {k: shards["work"][k] - first.answers[k] for k in shards["work"]}
    start = first.start + first.seconds - back_s
    second = World(Server(rpm=10), rest, shards["project"], shards["pool"], start=start, seed=seed).run(state)
    assert all(second.answers[k] == rest[k] for k in rest)
    assert second.seconds <= 4 * WINDOW_S + 10  # 30 chunks per key need two windows, and the step costs one more


# ---- workers whose clocks differ


@pytest.mark.parametrize("offset_s", [-7 * 86_400.0, -3600.0, -20.0, 20.0, 3600.0, 7 * 86_400.0])
def test_workers_whose_clocks_differ_share_a_quota(tmp_path: Path, offset_s: float) -> None:
    """The second worker started after the system clock was set to another time. Both use one key with 10 calls."""
    now = NOW  # the time that has passed for both
    path = tmp_path / "rate_limit.jsonl"
    logs = [RateLimitLog(path, RateLimitState(), clock) for clock in (lambda: now, lambda: now + offset_s)]
    with logs[0].locked():
        logs[0].write(started(at=NOW, rpm=10))
    with logs[1].locked():
        pass
    times: list[float] = []
    while len(times) < 60 and now < NOW + 900:
        for n, log in enumerate(logs):
            with log.locked() as state:
                local = now + n * offset_s
                if blocking_error(state, REQUEST, local) is None and delay_before_send(state, REQUEST, local) <= 0:
                    call = f"1-{n}-{len(times)}"
                    log.write(sent(call, local))
                    log.write(answered(call, local))
                    times.append(now)
        now += 0.5
    for log in logs:
        log.close()
    assert all(sum(t - WINDOW_S < x <= t for x in times) <= 10 for t in times)
    assert len(times) == 60 and times[-1] - NOW <= 7 * WINDOW_S


def test_a_daily_quota_that_a_worker_with_a_wrong_clock_reported_ends_by_the_right_one(tmp_path: Path) -> None:
    path, tomorrow = tmp_path / "rate_limit.jsonl", NOW + 86_400
    right, wrong = (RateLimitLog(path, RateLimitState(), clock) for clock in (lambda: NOW, lambda: tomorrow))
    with right.locked():
        right.write(started(at=NOW))
    with wrong.locked():
        wrong.write(sent("1-2-1", tomorrow))
        wrong.write(DailyQuotaExhausted(at=tomorrow, call="1-2-1", until=next_midnight(tomorrow)))
    with right.locked() as state:
        error = blocking_error(state, REQUEST, NOW)
    right.close()
    wrong.close()
    assert isinstance(error, QuotaExhaustedError) and error.resets_at
    assert error.resets_at.timestamp() == next_midnight(NOW)


def test_the_steady_clock_ignores_a_change_of_the_system_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, before = steady_clock(), time.time()
    monkeypatch.setattr(time, "time", lambda: before - 3600)
    assert before - 1 < clock() < before + 5
