"""The pace by itself: seconds of a simulated server's clock, no sleeping."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rate_limit.simulated_server import Server, World, separate

from insurance_rag.core.errors import KeyRejectedError, QuotaExhaustedError
from insurance_rag.rate_limit.admission import SendRequest, stop, wait
from insurance_rag.rate_limit.quota import next_midnight
from insurance_rag.rate_limit.state import RateLimitState

ASK = SendRequest(shard=1, key="k1", pool="p", share=1.0, chars=500)


def opened(rpm: int | None = None, tpm: int | None = None, rpd: int | None = None, **settings: float) -> RateLimitState:
    pace = RateLimitState(**settings)
    who = {"shard": 1, "key": "k1", "pool": "p", "share": 1.0, "own": False}
    pace.apply({"e": "open", "t": 0.0, **who, "rpm": rpm, "tpm": tpm, "rpd": rpd})
    return pace


def send(pace: RateLimitState, t: float, call: str, chars: int = 500) -> None:
    who = {"shard": 1, "key": "k1", "pool": "p"}
    pace.apply({"e": "sent", "t": t, "id": call, **who, "chars": chars, "again": False})


def ok(pace: RateLimitState, t: float, call: str, tokens: int = 0) -> None:
    pace.apply({"e": "ok", "t": t, "id": call, "in": tokens, "out": 1})


# ---- the figures of the goal


def test_quota_not_told_costs_a_few_429s_and_five_percent() -> None:
    world = World(Server(rpm=10), **separate(7, 400), jitter=0.05).run()
    assert sum(world.answers.values()) == 400
    assert world.refused <= 7
    assert world.seconds <= 317


def test_quota_told_costs_none() -> None:
    world = World(Server(rpm=10), **separate(7, 400), rpm_told=10, jitter=0.05).run()
    assert world.refused == 0
    assert world.seconds <= 310


def test_sixty_a_minute() -> None:
    world = World(Server(rpm=60), **separate(7, 1800), jitter=0.05).run()
    assert world.refused <= 14
    assert world.seconds <= 257


def test_keys_of_one_project_share_its_window() -> None:
    shards = separate(7, 400)
    shards |= {"project": dict.fromkeys(shards["work"], "p"), "pool": dict.fromkeys(shards["work"], "p")}
    world = World(Server(rpm=60), **shards, jitter=0.05).run()
    assert world.refused < 20
    assert world.seconds <= 1.1 * (6 * 60 + 1.5)


def test_keys_of_one_project_that_nobody_told_are_found_out() -> None:
    shards = separate(7, 400)
    shards["project"] = dict.fromkeys(shards["work"], "p")
    world = World(Server(rpm=60), **shards, jitter=0.05).run()
    assert world.refused < 20
    assert world.seconds <= 1.15 * (6 * 60 + 1.5)


def test_tokens_are_the_limit() -> None:
    world = World(Server(rpm=1000, tpm=6000), **separate(7, 400), jitter=0.05).run()
    assert world.refused < 20
    assert world.seconds <= 1.15 * 121.5


@pytest.mark.parametrize(("kind", "capacity"), [("fixed", None), ("bucket", None), ("bucket", 3)])
def test_other_ways_to_count_a_minute(kind: str, capacity: int | None) -> None:
    world = World(Server(rpm=30, kind=kind, capacity=capacity), **separate(3, 300), jitter=0.05).run()
    assert sum(world.answers.values()) == 300
    assert world.refused <= 30
    assert world.seconds <= 1.5 * 181.5


def test_a_refusal_without_details_is_survived() -> None:
    world = World(Server(rpm=10, told=False), **separate(2, 60), jitter=0.05).run()
    assert sum(world.answers.values()) == 60
    assert world.refused <= 25
    assert world.seconds <= 1.6 * 121.5


def test_others_in_the_project_are_waited_for() -> None:
    world = World(Server(rpm=10, foreign=(70.0 + 1_700_000_000, 130.0 + 1_700_000_000)), **separate(2, 60)).run()
    assert sum(world.answers.values()) == 60
    assert world.refused <= 12


@settings(max_examples=40, deadline=None)
@given(
    rpm=st.integers(1, 90),
    keys=st.integers(1, 8),
    chunks=st.integers(1, 150),
    latency=st.floats(0.05, 20),
    jitter=st.floats(0, 0.3),
    told=st.booleans(),
    seed=st.integers(0, 9),
)
def test_everything_is_answered_near_the_floor(rpm, keys, chunks, latency, jitter, told, seed) -> None:
    shards = separate(keys, chunks)
    world = World(
        Server(rpm=rpm), **shards, latency=latency, jitter=jitter, rpm_told=rpm if told else None, seed=seed
    ).run()
    assert sum(world.answers.values()) == chunks
    floor = (math.ceil(max(shards["work"].values()) / rpm) - 1) * 60 + latency
    ramp = 0.25 * max(shards["work"].values()) + 12 * latency  # gaps, and round trips until the quota is known
    assert world.seconds <= 1.1 * floor + ramp + 8
    assert world.refused <= 2 * keys + 6


# ---- single decisions


def test_never_more_than_the_limit_within_a_window() -> None:
    pace, now, sent = opened(rpm=5, gap_s=0.0), 1000.0, []
    for i in range(40):
        while (pause := wait(pace, ASK, now)) > 0:
            now += pause
        send(pace, now, str(i))
        ok(pace, now + 0.1, str(i))
        sent.append(now)
    assert all(sum(t - 60 < x <= t for x in sent) <= 5 for t in sent)


def test_an_untested_key_has_two_calls_in_flight() -> None:
    pace = opened(rpm=100)
    send(pace, 1.0, "a")
    send(pace, 2.0, "b")
    assert wait(pace, ASK, 10.0) > 0
    ok(pace, 10.5, "a")
    assert wait(pace, ASK, 11.0) == 0


def test_gap_between_calls_of_a_key_shrinks_with_the_minute_and_for_large_quotas() -> None:
    for window, rpm, gap in ((60, None, 0.2), (6, None, 0.02), (60, 1000, 0.03)):
        pace = opened(rpm=rpm, window_s=window)
        send(pace, 1.0, "a")
        assert wait(pace, ASK, 1.0) == pytest.approx(gap)


def test_tokens_are_learnt_from_the_answers() -> None:
    pace = opened(tpm=1000, gap_s=0.0)
    send(pace, 1.0, "a", chars=500)
    assert wait(pace, ASK, 2.0) == 0  # counted as a token a character until an answer says more
    send(pace, 2.0, "b", chars=500)
    ok(pace, 3.0, "a", tokens=900)
    assert wait(pace, ASK, 4.0) > 50


def test_a_call_larger_than_the_token_quota_waits_for_an_empty_window() -> None:
    pace = opened(tpm=100, gap_s=0.0)
    assert wait(pace, ASK, 1.0) == 0
    send(pace, 1.0, "a")
    ok(pace, 2.0, "a", tokens=500)
    assert 58 < wait(pace, ASK, 2.0) < 62


def test_a_dead_key_stops_and_gets_another_try_when_its_shard_starts_again() -> None:
    pace = opened()
    send(pace, 1.0, "a")
    pace.apply({"e": "dead", "t": 1.1, "id": "a", "why": "API_KEY_INVALID", "pool": False})
    assert isinstance(stop(pace, ASK, 2.0), KeyRejectedError)
    pace.apply({"e": "open", "t": 3.0, "shard": 1, "key": "k1", "pool": "p", "share": 1, "own": False} | QUOTA_UNKNOWN)
    assert stop(pace, ASK, 3.0) is None


QUOTA_UNKNOWN = {"rpm": None, "tpm": None, "rpd": None}


def test_a_project_without_quota_stops_all_its_keys() -> None:
    pace = opened()
    pace.apply({"e": "open", "t": 0, "shard": 2, "key": "k2", "pool": "p", "share": 1, "own": False} | QUOTA_UNKNOWN)
    send(pace, 1.0, "a")
    pace.apply({"e": "dead", "t": 1.1, "id": "a", "why": "limit: 0", "pool": True})
    assert isinstance(stop(pace, SendRequest(2, "k2", "p", 0.5, 1), 2.0), KeyRejectedError)


def test_a_used_up_day_stops_until_midnight_in_california() -> None:
    now = 1_767_225_600.0  # 2026-01-01 00:00 UTC, 16:00 the day before at Google
    assert next_midnight(now) == now + 8 * 3600
    pace = opened()
    send(pace, now, "a")
    pace.apply({"e": "day", "t": now, "id": "a", "until": next_midnight(now)})
    parked = stop(pace, ASK, now + 1)
    assert isinstance(parked, QuotaExhaustedError)
    assert parked.resets_at is not None and parked.resets_at.timestamp() == now + 8 * 3600
    assert stop(pace, ASK, now + 8 * 3600) is None


def test_a_told_day_quota_is_not_overdrawn() -> None:
    pace = opened(rpd=2)
    for i in range(2):
        assert stop(pace, ASK, 1000.0 + i) is None
        send(pace, 1000.0 + i, str(i))
    assert isinstance(stop(pace, ASK, 1003.0), QuotaExhaustedError)
    assert stop(pace, ASK, 1003.0 + 86400) is None


def test_calls_whose_process_died_do_not_block_for_ever() -> None:
    pace = opened(rpm=10, timeout_s=30)
    send(pace, 1.0, "a")
    send(pace, 1.5, "b")
    assert wait(pace, ASK, 5.0) > 0
    assert wait(pace, ASK, 40.0) == 0


def test_the_larger_of_two_quotas_is_found_by_probing() -> None:
    """Of two projects one has 10 a minute and one 30: the prior of the first does not hold the second for ever."""

    class Unequal(Server):
        def refuse(self, project, tokens, now):
            self.rpm = 10 if project == "k1" else 30
            return super().refuse(project, tokens, now)

    world = World(Unequal(rpm=10), **separate(2, 400), jitter=0.05, seed=3)
    world.work = {1: 60, 2: 240}
    world.run()
    assert world.answers[2] == 240
    assert world.seconds < 0.75 * 24 * 60


def test_a_restart_does_not_burst_into_its_own_past() -> None:
    shards = separate(3, 90)
    server, pace = Server(rpm=10), RateLimitState()
    first = World(server, **shards).run(pace, until=65)
    rest = {k: shards["work"][k] - first.answers[k] for k in shards["work"]}
    again = World(server, rest, shards["project"], shards["pool"], start=first.start + first.seconds + 1).run(pace)
    assert first.answers.total() + again.answers.total() >= 90
    assert again.refused <= 1
