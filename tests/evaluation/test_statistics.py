"""The statistics agree with scipy and statsmodels on random tables, and with published figures."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from insurance_rag.core.records import Kappa, Rate
from insurance_rag.core.stats import (
    cohen_kappa,
    holm,
    paired_interval,
    questions_needed,
    rate,
    rogan_gladen,
    sign_flip_test,
    visible_difference,
    wilson,
)

counts = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_statsmodels(pair: tuple[int, int], confidence: float) -> None:
    count, n = pair
    interval = wilson(count, n, confidence)
    if n == 0:
        assert interval is None
        return
    expected = proportion_confint(count, n, alpha=1 - confidence, method="wilson")
    assert interval is not None
    assert interval == pytest.approx(expected, abs=1e-9)
    assert 0 <= interval[0] <= count / n <= interval[1] <= 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_sign_flip_test_of_single_questions_is_mcnemar_in_statsmodels_and_scipy(b: int, c: int) -> None:
    p = sign_flip_test([-1] * b + [1] * c, list(range(b + c)))
    assert p == pytest.approx(min(1.0, float(mcnemar([[0, b], [c, 0]], exact=True).pvalue)), abs=1e-12)
    if b + c:
        assert p == pytest.approx(binomtest(b, b + c).pvalue, abs=1e-9)


@pytest.fixture(scope="module")
def frozen_garbage() -> Iterator[None]:
    """Speed up multipletests, which collects garbage at each call: 0.3 s if torch is loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen_garbage")
@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=80))
def test_kappa_is_statsmodels(pairs: list[tuple[int, int]]) -> None:
    ours = cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])
    table = np.zeros((3, 3))
    for a, b in pairs:
        table[a, b] += 1
    keep = (table.sum(0) + table.sum(1)) > 0
    with np.errstate(all="ignore"):
        theirs = cohens_kappa(table[keep][:, keep])
    if ours.kappa is None:
        assert not math.isfinite(theirs.kappa)
        return
    assert ours.kappa == pytest.approx(theirs.kappa, abs=1e-4)
    assert ours.interval is not None
    low, high = ours.interval
    if math.isnan(theirs.kappa_low):  # rounding made its variance negative; ours is 0 then
        assert low == high == ours.kappa
        return
    assert low == pytest.approx(max(-1, theirs.kappa_low), abs=2e-4)
    assert high == pytest.approx(min(1, theirs.kappa_upp), abs=2e-4)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_intervals_contain_the_difference(pairs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*pairs, strict=True)
    difference = (sum(a) - sum(b)) / len(pairs)
    only_a = sum(x and not y for x, y in pairs)
    only_b = sum(y and not x for x, y in pairs)
    low, high = paired_interval(only_a, only_b, len(pairs)) or (0, 0)
    assert -1 <= low <= -difference <= high <= 1
    assert low < high


def test_paired_interval_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(1)
    truth, n, covered = 0.10, 150, 0
    for b, c, _ in rng.multinomial(n, [0.10, 0.20, 0.70], size=1000):
        low, high = paired_interval(int(b), int(c), n) or (0, 0)
        covered += low <= truth <= high
    assert 930 <= covered <= 975


@pytest.mark.parametrize(("difference", "n"), [(0.20, 47), (0.15, 85), (0.10, 194), (0.05, 783)])
def test_power_gives_the_published_numbers(difference: float, n: int) -> None:
    assert questions_needed(difference) == n
    assert visible_difference(n) == pytest.approx(difference, abs=0.002)
    assert questions_needed(difference, design_effect=2) in (2 * n - 1, 2 * n)
    assert visible_difference(2 * n, design_effect=2) == pytest.approx(difference, abs=0.002)


@pytest.mark.parametrize(("count", "low", "high"), [(2, 3, 30), (5, 11, 47), (7, 18, 57), (11, 34, 74)])
def test_intervals_of_twenty_questions_are_wide(count: int, low: int, high: int) -> None:
    found = rate(count, 20)
    assert found.low is not None
    assert found.high is not None
    assert (round(100 * found.low), round(100 * found.high)) == (low, high)


def test_what_is_undefined_is_none_and_never_nan() -> None:
    assert rate(0, 0) == Rate(count=0, n=0, rate=None, low=None, high=None)
    assert paired_interval(0, 0, 0) is None
    assert cohen_kappa([], []).kappa is None
    assert cohen_kappa([1, 1], [1, 1]) == Kappa(kappa=None, interval=None, n=2, agreement=1.0)
    assert visible_difference(0) is None
    assert rogan_gladen(1, 2, (0, 0), (1, 1)).rate is None
    assert rogan_gladen(5, 10, (1, 2), (1, 2)).rate is None  # flagging by chance
    with pytest.raises(ValueError, match="difference of 0"):
        questions_needed(0)


@given(st.floats(0.02, 0.98), st.floats(0.6, 1), st.floats(0.6, 1))
def test_rogan_gladen_corrects_the_errors_of_the_flagging(true: float, sensitivity: float, specificity: float) -> None:
    n = 100_000
    flagged = true * sensitivity + (1 - true) * (1 - specificity)
    labels = (round(sensitivity * n), n), (round(specificity * n), n)
    found = rogan_gladen(round(flagged * n), n, *labels)
    assert found.rate is not None
    assert found.interval is not None
    assert found.rate == pytest.approx(true, abs=1e-3)
    assert found.interval[0] <= found.rate <= found.interval[1]
