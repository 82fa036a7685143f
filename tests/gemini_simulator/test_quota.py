"""Quota windows, checked against the definition of the limit that they enforce."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_simulator.config import QuotaConfig
from gemini_simulator.quota import DAY_S, FixedWindow, ProjectQuota, RollingWindow

GAPS = st.lists(st.floats(0.01, 30), min_size=1, max_size=80)


@given(gaps=GAPS, limit=st.integers(1, 8))
def test_a_rolling_window_never_contains_more_than_its_limit(gaps: list[float], limit: int) -> None:
    window, now = RollingWindow(limit, 60.0), 0.0
    times: list[float] = []
    for gap in gaps:
        now += gap
        if wait_s := window.wait_s(now, 1):
            assert wait_s <= 60
            assert copy.deepcopy(window).wait_s(now + wait_s + 1e-6, 1) == 0  # the reported wait is sufficient
        else:
            window.consume(now, 1)
            times.append(now)
            assert sum(now - 60 < t <= now for t in times) <= limit


@given(gaps=GAPS, window=st.sampled_from(["rolling", "fixed", "bucket"]))
def test_the_wait_that_a_window_reports_is_sufficient(gaps: list[float], window: str) -> None:
    quota, now = ProjectQuota(QuotaConfig(rpm=3), window), 0.0
    for gap in gaps:
        now += gap
        if violations := quota.admit(now, 1):
            now += violations[0].wait_s + 1e-6
            assert quota.admit(now, 1) == []


def test_a_bucket_refills_evenly() -> None:
    quota = ProjectQuota(QuotaConfig(rpm=6), "bucket")
    assert [bool(quota.admit(0.0, 1)) for _ in range(7)] == [False] * 6 + [True]
    assert quota.admit(5.0, 1)[0].wait_s == pytest.approx(5.0)
    assert quota.admit(10.0, 1) == []


def test_a_fixed_window_admits_twice_its_limit_around_its_boundary() -> None:
    window = FixedWindow(2, 60.0)
    for now in (59.0, 59.5, 60.0, 60.5):
        assert window.wait_s(now, 1) == 0
        window.consume(now, 1)
    assert window.wait_s(61.0, 1) == pytest.approx(59.0)


def test_tokens_and_requests_per_day_have_separate_limits() -> None:
    quota = ProjectQuota(QuotaConfig(rpm=100, tpm=1000, rpd=3), "rolling")
    assert quota.admit(0.0, 900) == []
    assert [(v.metric, v.limit) for v in quota.admit(1.0, 200)] == [("tpm", 1000)]
    assert quota.admit(61.0, 200) == []
    assert quota.admit(62.0, 200) == []
    violations = quota.admit(130.0, 10)
    assert [v.metric for v in violations] == ["rpd"] and violations[0].wait_s == pytest.approx(DAY_S - 130)
    assert quota.admit(DAY_S + 1, 10) == []


def test_a_request_larger_than_the_limit_never_fits() -> None:
    assert ProjectQuota(QuotaConfig(tpm=100), "rolling").admit(0.0, 101)[0].wait_s == 60


def test_a_limit_of_zero_violates_every_quota() -> None:
    assert [v.limit for v in ProjectQuota(QuotaConfig(rpm=0), "rolling").admit(0.0, 1)] == [0, 0, 0]
