"""Windows and pools, checked against the definition of the limit they keep."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_simulator.config import QuotaConfig
from gemini_simulator.quota import DAY_S, FixedWindow, Pool, RollingWindow

GAPS = st.lists(st.floats(0.01, 30), min_size=1, max_size=80)


@given(gaps=GAPS, limit=st.integers(1, 8))
def test_rolling_window_never_holds_more_than_its_limit(gaps: list[float], limit: int) -> None:
    window, now, taken = RollingWindow(limit, 60.0), 0.0, []
    for gap in gaps:
        now += gap
        if wait := window.wait(now, 1):
            assert wait <= 60
            assert copy.deepcopy(window).wait(now + wait + 1e-6, 1) == 0  # the delay it names is enough
        else:
            window.take(now, 1)
            taken.append(now)
            assert sum(now - 60 < t <= now for t in taken) <= limit


@given(gaps=GAPS, window=st.sampled_from(["rolling", "fixed", "bucket"]))
def test_every_window_names_a_delay_that_is_enough(gaps: list[float], window: str) -> None:
    pool, now = Pool(QuotaConfig(rpm=3), window), 0.0
    for gap in gaps:
        now += gap
        if broken := pool.admit(now, 1):
            now += broken[0].wait + 1e-6
            assert pool.admit(now, 1) == []


def test_a_bucket_refills_evenly() -> None:
    pool = Pool(QuotaConfig(rpm=6), "bucket")
    assert [bool(pool.admit(0.0, 1)) for _ in range(7)] == [False] * 6 + [True]
    assert pool.admit(5.0, 1)[0].wait == pytest.approx(5.0)
    assert pool.admit(10.0, 1) == []


def test_a_fixed_window_lets_two_limits_pass_around_its_edge() -> None:
    window = FixedWindow(2, 60.0)
    for now in (59.0, 59.5, 60.0, 60.5):
        assert window.wait(now, 1) == 0
        window.take(now, 1)
    assert window.wait(61.0, 1) == pytest.approx(59.0)


def test_tokens_and_days_are_limits_of_their_own() -> None:
    pool = Pool(QuotaConfig(rpm=100, tpm=1000, rpd=3), "rolling")
    assert pool.admit(0.0, 900) == []
    assert [(v.metric, v.limit) for v in pool.admit(1.0, 200)] == [("tpm", 1000)]
    assert pool.admit(61.0, 200) == []
    assert pool.admit(62.0, 200) == []
    day_out = pool.admit(130.0, 10)
    assert [v.metric for v in day_out] == ["rpd"] and day_out[0].wait == pytest.approx(DAY_S - 130)
    assert pool.admit(DAY_S + 1, 10) == []


def test_a_request_larger_than_the_limit_never_fits() -> None:
    assert Pool(QuotaConfig(tpm=100), "rolling").admit(0.0, 101)[0].wait == 60


def test_limit_zero_breaks_every_quota_at_once() -> None:
    assert [v.limit for v in Pool(QuotaConfig(rpm=0), "rolling").admit(0.0, 1)] == [0, 0, 0]
