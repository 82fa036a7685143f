"""Read the spread over seeds: the rates of recipes that were trained with several seeds, and the tests between them."""

from __future__ import annotations

from insurance_rag.core.records import EvaluationSummary
from insurance_rag.core.records.recipes import RecipeSummary
from insurance_rag.report.charts import FULL_AXIS, Axis
from insurance_rag.report.view import RecipeRow, RecipeSpread, SeedDot


def recipe_spreads(summary: EvaluationSummary) -> list[RecipeSpread]:
    """Return the spread of each compared metric, most important first. Empty if every recipe has one seed."""
    if all(len(recipe.adapters) < 2 for recipe in summary.recipes.values()):
        return []
    found = []
    for metric in (name for name, info in summary.metrics.items() if info.compared):
        rows = [row for name, recipe in summary.recipes.items() if (row := _row(name, recipe, metric, summary))]
        tests = [test for test in summary.recipe_tests if test.metric == metric and test.n]
        if rows:
            found.append(RecipeSpread(metric=metric, rows=rows, tests=tests))
    return found


def _row(name: str, recipe: RecipeSummary, metric: str, summary: EvaluationSummary) -> RecipeRow | None:
    rate = recipe.rates.get(metric)
    if rate is None:
        return None
    dots = []
    for adapter, seed in zip(recipe.adapters, recipe.seeds, strict=False):
        model = summary.models.get(adapter)
        if model and (own := model.rates.get(metric)) and own.rate is not None:
            dots.append(SeedDot(adapter=adapter, seed=seed, rate=own.rate))
    return RecipeRow(name=name, rate=rate, dots=dots)


def spread_axis(spread: RecipeSpread) -> Axis:
    """Return the shortest of the axes 0–25%, 0–50% and 0–100% that contains all dots and intervals."""
    values = [value for row in spread.rows for value in (row.rate.max, row.rate.high, *(d.rate for d in row.dots))]
    highest = max((value for value in values if value is not None), default=1.0)
    for high, step in ((0.25, 0.05), (0.5, 0.1)):
        if highest <= high:
            return Axis(0.0, high, tuple(i * step for i in range(round(high / step) + 1)))
    return FULL_AXIS


def recipe_difference_axis(spread: RecipeSpread) -> Axis:
    """Return an axis, symmetric about zero, that contains the intervals of all differences between recipes."""
    bounds = [abs(b) for test in spread.tests for b in (test.difference, test.low, test.high) if b is not None]
    limit = next((r for r in (0.1, 0.25, 0.5) if max(bounds, default=0.1) <= r), 1.0)
    return Axis(-limit, limit, (-limit, -limit / 2, 0.0, limit / 2, limit))
