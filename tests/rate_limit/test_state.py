"""Pacing of calls against a simulated server: seconds of a simulated clock, no sleeping."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rate_limit.events import answered, sent, started
from tests.rate_limit.simulated_server import Server, World, separate_projects

from insurance_rag.core.errors import KeyRejectedError, QuotaExhaustedError
from insurance_rag.rate_limit.admission import SendRequest, blocking_error, delay_before_send
from insurance_rag.rate_limit.events import DailyQuotaExhausted, KeyRejected
from insurance_rag.rate_limit.quota import next_midnight
from insurance_rag.rate_limit.state import RateLimitState

REQUEST = SendRequest(shard=1, key="k1", pool="p", share=1.0, chars=500)


def started_state(
    *,
    rpm: int | None = None,
    tpm: int | None = None,
    rpd: int | None = None,
    gap_s: float = 0.2,
    window_s: float = 60.0,
) -> RateLimitState:
    state = RateLimitState(window_s=window_s, gap_s=gap_s)
    state.apply(started(rpm=rpm, tpm=tpm, rpd=rpd))
    return state


# ---- whole runs


def test_an_unknown_quota_costs_a_few_429s_and_five_percent() -> None:
    world = World(Server(rpm=10), **separate_projects(7, 400), jitter_s=0.05).run()
    assert sum(world.answers.values()) == 400
    assert world.refused <= 7
    assert world.seconds <= 317


def test_a_configured_quota_costs_no_429() -> None:
    world = World(Server(rpm=10), **separate_projects(7, 400), configured_rpm=10, jitter_s=0.05).run()
    assert world.refused == 0
    assert world.seconds <= 310


def test_sixty_requests_per_minute() -> None:
    world = World(Server(rpm=60), **separate_projects(7, 1800), jitter_s=0.05).run()
    assert world.refused <= 14
    assert world.seconds <= 257


def test_keys_of_one_project_share_its_window() -> None:
    shards = separate_projects(7, 400)
    shards["project"] = shards["pool"] = dict.fromkeys(shards["work"], "p")
    world = World(Server(rpm=60), **shards, jitter_s=0.05).run()
    assert world.refused < 20
    assert world.seconds <= 1.1 * (6 * 60 + 1.5)


def test_keys_that_share_a_project_without_configuration_are_found_out() -> None:
    shards = separate_projects(7, 400)
    shards["project"] = dict.fromkeys(shards["work"], "p")
    world = World(Server(rpm=60), **shards, jitter_s=0.05).run()
    assert world.refused < 20
    assert world.seconds <= 1.15 * (6 * 60 + 1.5)


def test_tokens_are_the_limit() -> None:
    world = World(Server(rpm=1000, tpm=6000), **separate_projects(7, 400), jitter_s=0.05).run()
    assert world.refused < 20
    assert world.seconds <= 1.15 * 121.5


@pytest.mark.parametrize(("kind", "capacity"), [("fixed", None), ("bucket", None), ("bucket", 3)])
def test_other_ways_to_count_a_minute(kind: str, capacity: int | None) -> None:
    server = Server(rpm=30, kind=kind, capacity=capacity)
    world = World(server, **separate_projects(3, 300), jitter_s=0.05).run()
    assert sum(world.answers.values()) == 300
    assert world.refused <= 30
    assert world.seconds <= 1.5 * 181.5


def test_refusals_without_details_are_survived() -> None:
    world = World(Server(rpm=10, reports_limits=False), **separate_projects(2, 60), jitter_s=0.05).run()
    assert sum(world.answers.values()) == 60
    assert world.refused <= 25
    assert world.seconds <= 1.6 * 121.5


def test_other_users_of_the_project_are_waited_for() -> None:
    server = Server(rpm=10, other_users=(70.0 + 1_700_000_000, 130.0 + 1_700_000_000))
    world = World(server, **separate_projects(2, 60)).run()
    assert sum(world.answers.values()) == 60
    assert world.refused <= 12


@settings(max_examples=40, deadline=None)
@given(
    rpm=st.integers(1, 90),
    keys=st.integers(1, 8),
    chunks=st.integers(1, 150),
    latency_s=st.floats(0.05, 20),
    jitter_s=st.floats(0, 0.3),
    configured=st.booleans(),
    seed=st.integers(0, 9),
)
def test_everything_is_answered_close_to_the_least_time(
    rpm: int, keys: int, chunks: int, latency_s: float, jitter_s: float, configured: bool, seed: int
) -> None:
    shards = separate_projects(keys, chunks)
    limit = rpm if configured else None
    world = World(
        Server(rpm=rpm), **shards, latency_s=latency_s, jitter_s=jitter_s, configured_rpm=limit, seed=seed
    ).run()
    assert sum(world.answers.values()) == chunks
    most = max(shards["work"].values())
    floor = (math.ceil(most / rpm) - 1) * 60 + latency_s
    ramp = 0.25 * most + 12 * latency_s  # gaps, and round trips until the quota is known
    assert world.seconds <= 1.1 * floor + ramp + 8
    assert world.refused <= 2 * keys + 6


# ---- single decisions


def test_a_window_never_has_more_calls_than_the_limit() -> None:
    state, now = started_state(rpm=5, gap_s=0.0), 1000.0
    times = []
    for i in range(40):
        while (delay_s := delay_before_send(state, REQUEST, now)) > 0:
            now += delay_s
        state.apply(sent(str(i), now))
        state.apply(answered(str(i), now + 0.1))
        times.append(now)
    assert all(sum(t - 60 < x <= t for x in times) <= 5 for t in times)


def test_an_untested_key_has_two_calls_in_flight() -> None:
    state = started_state(rpm=100)
    state.apply(sent("a", 1.0))
    state.apply(sent("b", 2.0))
    assert delay_before_send(state, REQUEST, 10.0) > 0
    state.apply(answered("a", 10.5))
    assert delay_before_send(state, REQUEST, 11.0) == 0


def test_an_untested_key_keeps_to_the_configured_number_of_calls_in_flight() -> None:
    state = RateLimitState(max_in_flight=1)
    state.apply(started(rpm=100))
    state.apply(sent("a", 1.0))
    assert delay_before_send(state, REQUEST, 10.0) > 0


@pytest.mark.parametrize(("window_s", "rpm", "gap_s"), [(60, None, 0.2), (6, None, 0.02), (60, 1000, 0.03)])
def test_the_gap_between_calls_shrinks_with_the_window_and_with_large_quotas(
    window_s: float, rpm: int | None, gap_s: float
) -> None:
    state = started_state(rpm=rpm, window_s=window_s)
    state.apply(sent("a", 1.0))
    assert delay_before_send(state, REQUEST, 1.0) == pytest.approx(gap_s)


def test_tokens_per_character_are_learned_from_the_answers() -> None:
    state = started_state(tpm=1000, gap_s=0.0)
    state.apply(sent("a", 1.0, chars=500))
    assert delay_before_send(state, REQUEST, 2.0) == 0  # one token per character until an answer says otherwise
    state.apply(sent("b", 2.0, chars=500))
    state.apply(answered("a", 3.0, tokens_in=900))
    assert delay_before_send(state, REQUEST, 4.0) > 50


def test_a_call_larger_than_the_token_quota_waits_for_an_empty_window() -> None:
    state = started_state(tpm=100, gap_s=0.0)
    assert delay_before_send(state, REQUEST, 1.0) == 0
    state.apply(sent("a", 1.0))
    state.apply(answered("a", 2.0, tokens_in=500))
    assert 58 < delay_before_send(state, REQUEST, 2.0) < 62


def test_a_rejected_key_is_blocked_until_its_shard_starts_again() -> None:
    state = started_state()
    state.apply(sent("a", 1.0))
    state.apply(KeyRejected(at=1.1, call="a", reason="API_KEY_INVALID"))
    assert isinstance(blocking_error(state, REQUEST, 2.0), KeyRejectedError)
    state.apply(started(at=3.0))
    assert blocking_error(state, REQUEST, 3.0) is None


def test_a_project_without_quota_blocks_all_its_keys() -> None:
    state = started_state()
    state.apply(started(2, key="k2"))
    state.apply(sent("a", 1.0))
    state.apply(KeyRejected(at=1.1, call="a", reason="limit: 0", whole_project=True))
    assert isinstance(blocking_error(state, SendRequest(2, "k2", "p", 0.5, 1), 2.0), KeyRejectedError)


def test_a_used_up_daily_quota_blocks_until_midnight_in_california() -> None:
    now = 1_767_225_600.0  # 2026-01-01 00:00 UTC, which is 16:00 of the day before in California
    assert next_midnight(now) == now + 8 * 3600
    state = started_state()
    state.apply(sent("a", now))
    state.apply(DailyQuotaExhausted(at=now, call="a", until=next_midnight(now)))
    error = blocking_error(state, REQUEST, now + 1)
    assert isinstance(error, QuotaExhaustedError)
    assert error.resets_at is not None and error.resets_at.timestamp() == now + 8 * 3600
    assert blocking_error(state, REQUEST, now + 8 * 3600) is None


def test_a_configured_daily_quota_is_not_exceeded() -> None:
    state = started_state(rpd=2)
    for i in range(2):
        assert blocking_error(state, REQUEST, 1000.0 + i) is None
        state.apply(sent(str(i), 1000.0 + i))
    assert isinstance(blocking_error(state, REQUEST, 1003.0), QuotaExhaustedError)
    assert blocking_error(state, REQUEST, 1003.0 + 86400) is None


def test_the_smallest_daily_quota_of_a_projects_keys_counts() -> None:
    state = started_state(rpd=5)
    state.apply(started(2, key="k2"))
    assert state.pool("p").rpd == 5
    state.apply(started(3, key="k3", rpd=2))
    assert state.pool("p").rpd == 2
    state.apply(started(3, key="k3", rpd=None))
    assert state.pool("p").rpd == 5


def test_calls_of_a_killed_process_stop_blocking_after_their_own_timeout() -> None:
    state = started_state(rpm=10)
    for call, timeout_s in (("a", 30.0), ("b", 300.0)):
        state.apply(sent(call, 1.0).model_copy(update={"timeout_s": timeout_s}))
    assert delay_before_send(state, REQUEST, 5.0) > 0
    assert delay_before_send(state, REQUEST, 40.0) == 0
    state.apply(sent("c", 40.0))
    assert delay_before_send(state, REQUEST, 70.0) > 0, "the call with the long timeout is still in flight"


def test_a_restarted_run_remembers_the_calls_of_its_window() -> None:
    shards = separate_projects(3, 90)
    server, state = Server(rpm=10), RateLimitState()
    first = World(server, **shards).run(state, until_s=65)
    rest = {k: shards["work"][k] - first.answers[k] for k in shards["work"]}
    start = first.start + first.seconds + 1
    second = World(server, rest, shards["project"], shards["pool"], start=start).run(state)
    assert first.answers.total() + second.answers.total() >= 90
    assert second.refused <= 1
