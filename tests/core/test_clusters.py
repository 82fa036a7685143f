"""Intervals and tests of clustered questions agree with statsmodels, of single questions with the classic ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.genmod.cov_struct import Independence

from insurance_rag.core.records import PairedDifference, Rate
from insurance_rag.core.stats import (
    clustered_rate,
    compare_recipes,
    estimate_clustering,
    paired_difference,
    paired_interval,
    rate,
    recipe_interval,
    seed_spread,
    sign_flip_test,
    wilson,
)

values = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 8)), min_size=1, max_size=60)
answers = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 8)), min_size=1, max_size=60)


def variance(found: Sequence[float], clusters: Sequence[int]) -> float:
    """Return the variance of the mean that the design effect stands for."""
    clustering = estimate_clustering(found, clusters)
    assert clustering.design_effect is not None
    return clustering.design_effect * float(np.var(found)) / len(found)


def test_the_variance_over_clusters_of_one_size_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(30), 4)
    found = (rng.random(120) < rng.beta(1, 1, 30)[clusters]).astype(float)
    fit = sm.OLS(found, np.ones(120)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True, "df_correction": True}
    )
    # statsmodels multiplies by (n - 1) / (n - parameters), which is 1 for a mean
    assert variance(found.tolist(), clusters.tolist()) == pytest.approx(float(fit.cov_params()[0, 0]))


def test_the_variance_over_clusters_of_many_sizes_is_between_two_of_statsmodels() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(20), rng.integers(1, 12, 20))
    found = (rng.random(len(clusters)) < rng.beta(1, 1, 20)[clusters]).astype(float)
    model = sm.GEE(found, np.ones(len(found)), groups=clusters, cov_struct=Independence())
    naive, reduced = (float(model.fit(cov_type=kind).cov_params()[0, 0]) for kind in ("robust", "bias_reduced"))
    assert naive < variance(found.tolist(), clusters.tolist()) < reduced


@given(values)
def test_the_design_effect_is_between_one_and_the_number_of_questions(pairs: list[tuple[int, int]]) -> None:
    found, clusters = zip(*pairs, strict=True)
    clustering = estimate_clustering(found, clusters)
    assert clustering.clusters == len(set(clusters))
    assert 1 <= clustering.variance_factor <= len(found)
    assert clustering.degrees_of_freedom >= 1
    assert clustering == estimate_clustering(found, clusters)
    order = sorted(range(len(found)), key=lambda i: clusters[i])
    again = estimate_clustering([found[i] for i in order], [clusters[i] for i in order])
    assert again.variance_factor == pytest.approx(clustering.variance_factor)


@given(values)
def test_single_questions_give_the_classic_intervals(pairs: list[tuple[int, int]]) -> None:
    found = [value for value, _ in pairs]
    clustering, n = estimate_clustering(found, range(len(found))), len(found)
    assert wilson(found.count(1), n, 0.95, clustering) == wilson(found.count(1), n)
    only_a, only_b = found.count(-1), found.count(1)
    assert paired_interval(only_a, only_b, n, 0.95, clustering) == paired_interval(only_a, only_b, n)


def test_questions_that_repeat_each_other_count_once() -> None:
    outcomes = [i % 5 < 2 for i in range(100)]
    once = rate(40, 100)
    thrice = clustered_rate(outcomes * 3, list(range(100)) * 3)
    assert thrice.design_effect == pytest.approx(3, abs=0.05)
    assert thrice.clusters == 100
    assert thrice.rate == once.rate
    assert thrice.low == pytest.approx(once.low, abs=0.005)
    assert thrice.high == pytest.approx(once.high, abs=0.005)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 9)), min_size=1, max_size=25))
def test_the_sign_flip_test_counts_all_signs(pairs: list[tuple[int, int]]) -> None:
    differences, clusters = zip(*pairs, strict=True)
    sums = [sum(d for d, own in pairs if own == cluster) for cluster in set(clusters)]
    totals = [abs(sum(map(int.__mul__, signs, sums))) for signs in product((-1, 1), repeat=len(sums))]
    expected = sum(total >= abs(sum(sums)) for total in totals) / len(totals)
    assert sign_flip_test(differences, clusters) == pytest.approx(expected, abs=1e-12)


@given(answers)
def test_paired_differences_are_symmetric_and_contain_the_estimate(rows: list[tuple[bool, bool, int]]) -> None:
    a = {str(i): row[0] for i, row in enumerate(rows)}
    b = {str(i): row[1] for i, row in enumerate(rows)}
    clusters = {str(i): str(row[2]) for i, row in enumerate(rows)}
    found, reverse = paired_difference(a, b, clusters), paired_difference(b, a, clusters)
    assert found.difference is not None
    assert found.low is not None
    assert found.high is not None
    assert reverse.low is not None
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert found.low < found.high
    assert (reverse.difference, reverse.p) == (-found.difference, found.p)
    assert reverse.low == pytest.approx(-found.high, abs=1e-4)
    assert reverse.design_effect == found.design_effect
    recipes = compare_recipes([a], [b], clusters)
    assert (recipes.difference, recipes.low, recipes.high) == (found.difference, found.low, found.high)


def test_correlated_questions_need_more_questions() -> None:
    a = {str(i): i % 10 < 4 for i in range(60)}
    b = {str(i): i % 10 < 6 for i in range(60)}
    independent = paired_difference(a, b)
    clustered = paired_difference(a, b, {q: str(int(q) % 10) for q in a})
    assert independent.clusters is None
    assert independent.design_effect is None
    assert clustered.design_effect == pytest.approx(60 / 9, abs=0.01)
    assert independent.p < 0.001
    assert clustered.p == 0.5
    assert independent.questions_needed is not None
    assert clustered.questions_needed is not None
    assert clustered.questions_needed / independent.questions_needed == pytest.approx(60 / 9, abs=0.2)


@pytest.mark.parametrize(
    ("outcomes", "clusters", "low", "high"),
    [
        ([True], [1], 0.2065, 1.0),  # one question: the Wilson interval of one question
        ([True] * 4, [1] * 4, 0.2065, 1.0),  # one cluster is as informative as one question
        ([True, False, True, False], [1] * 4, 0.0546, 0.9454),
        ([False] * 40, list(range(20)) * 2, 0.0, 0.0987),
        ([True] * 40, list(range(20)) * 2, 0.9013, 1.0),
    ],
)
def test_extreme_rates_have_intervals_of_nonzero_width(
    outcomes: list[bool], clusters: list[int], low: float, high: float
) -> None:
    found = clustered_rate(outcomes, clusters)
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)
    assert found.design_effect == (1.0 if len(outcomes) == 1 else None)


def test_without_questions_everything_is_undefined() -> None:
    assert clustered_rate([], []) == Rate(count=0, n=0, rate=None, low=None, high=None, clusters=0)
    assert paired_difference({"1": True}, {"2": True}, {"1": "a", "2": "a"}) == PairedDifference(
        n=0, only_a=0, only_b=0, difference=None, low=None, high=None, clusters=0, p=1.0, questions_needed=None
    )
    nothing = compare_recipes([{}], [{}], {})
    assert (nothing.n, nothing.a, nothing.difference, nothing.p) == (0, None, None, None)
    with pytest.raises(ValueError, match="every value needs one cluster"):
        clustered_rate([True], [])
    with pytest.raises(ValueError, match="at least one adapter"):
        compare_recipes([], [{}], {})
    with pytest.raises(ValueError, match="at least one adapter"):
        seed_spread([])


def test_the_spread_over_seeds_widens_the_interval_of_recipes() -> None:
    clusters = {str(i): str(i // 3) for i in range(300)}

    def adapter(correct: int) -> dict[str, bool]:
        return {q: int(q) * 7 % 300 < correct for q in clusters}

    equal = compare_recipes([adapter(120)] * 3, [adapter(150)] * 3, clusters)
    spread = compare_recipes(
        [adapter(90), adapter(120), adapter(150)], [adapter(120), adapter(150), adapter(180)], clusters
    )
    assert equal.difference == spread.difference == 0.1
    assert equal.a == seed_spread([0.4] * 3)
    assert spread.b == seed_spread([0.4, 0.5, 0.6])
    assert spread.b.sd == 0.1
    assert equal.seed_variance == pytest.approx(0, abs=1e-12)
    assert spread.seed_variance == pytest.approx(2 * 0.1**2 / 3)
    assert equal.p is not None
    assert spread.p is not None
    assert equal.p < 0.01 < 0.2 < spread.p
    assert equal.low is not None
    assert equal.low > 0
    assert spread.low is not None
    assert spread.low < 0
    assert spread.degrees_of_freedom is not None
    assert 4 <= spread.degrees_of_freedom < 6


def test_one_adapter_has_no_spread_over_seeds() -> None:
    clusters = {str(i): str(i) for i in range(50)}
    base = {q: int(q) < 20 for q in clusters}
    found = compare_recipes([base], [{q: int(q) < k for q in clusters} for k in (25, 30)], clusters)
    assert found.a is not None
    assert found.b is not None
    assert (found.a.seeds, found.a.sd, found.b.seeds, found.b.mean) == (1, None, 2, 0.55)
    assert found.seed_variance == pytest.approx(0.1**2 / 4)


@given(answers)
def test_the_interval_of_a_recipe_with_one_adapter_is_that_of_its_rate(rows: list[tuple[bool, bool, int]]) -> None:
    clusters = {str(i): str(cluster) for i, (_, _, cluster) in enumerate(rows)}
    found = {str(i): outcome for i, (outcome, _, _) in enumerate(rows)}
    single = clustered_rate(list(found.values()), list(clusters.values()))
    low, high = recipe_interval([found], clusters) or (0, 0)
    assert low == pytest.approx(single.low, abs=1e-4)
    assert high == pytest.approx(single.high, abs=1e-4)
    low, high = recipe_interval([found, found], clusters) or (0, 0)
    assert 0 <= low < high <= 1
    assert recipe_interval([{}], {}) is None
