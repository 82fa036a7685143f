"""The 95 % intervals have their nominal coverage on the cluster sizes of the sample questions."""

from __future__ import annotations

import numpy as np
import pytest
from bench.statistics import missed_limits
from bench.statistics_coverage import Coverage, measure_difference, measure_rate, measure_recipes, question_sets

REPLICATIONS = 800


@pytest.fixture(scope="module")
def sets() -> dict[str, list[int]]:
    return question_sets()


def test_the_question_sets_have_the_cluster_sizes_of_the_sample(sets: dict[str, list[int]]) -> None:
    assert (sum(sets["all"]), len(sets["all"])) == (300, 100)
    assert sum(sets["answerable"]) + sum(sets["unanswerable"]) == 300


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("name", ["all", "unanswerable"])
def test_rates_and_differences_are_covered(sets: dict[str, list[int]], name: str, correlation: float) -> None:
    sizes = np.asarray(sets[name])
    found = [
        measure_rate(name, sizes, 0.3, correlation, REPLICATIONS),
        measure_difference(name, sizes, 0.0, correlation, REPLICATIONS),
        measure_difference(name, sizes, 0.1, correlation, REPLICATIONS),
    ]
    assert list(missed_limits(found)) == []
    if name == "all" and correlation:
        assert all(row.before < 0.91 for row in found)
        assert all((row.design_effect or 0) > 1.5 for row in found)


@pytest.mark.parametrize("seed_sd", [0.0, 0.05])
def test_differences_of_recipes_are_covered(sets: dict[str, list[int]], seed_sd: float) -> None:
    found = measure_recipes("all", np.asarray(sets["all"]), seed_sd, 0.2, 250)
    assert [row.kind for row in found] == ["recipe", "recipes"]
    assert list(missed_limits(found)) == []
    assert all(row.before < 0.93 for row in found)


def test_a_missed_limit_is_reported() -> None:
    row = Coverage(
        questions="all", n=300, clusters=100, kind="difference", true_value=0.0, correlation=0.2, coverage=0.9,
        before=0.9, width=0.1, design_effect=1.6, p_below_5_percent=0.1,
    )  # fmt: skip
    assert list(missed_limits([row])) == [
        "difference 0.0 at correlation 0.2 on 'all': coverage 0.9",
        "difference 0.0 at correlation 0.2 on 'all': 0.1 of the p values are below 5 %",
    ]
    elsewhere = row.model_copy(update={"questions": "60 of few clusters"})
    assert list(missed_limits([elsewhere])) == []
