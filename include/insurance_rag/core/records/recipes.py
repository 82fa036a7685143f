"""Records for the comparison of recipes: several adapters per recipe that differ only in the seed."""

from __future__ import annotations

from insurance_rag.core.records.data import Record
from insurance_rag.core.records.statistics import RecipeDifference, SeedSpread


class RecipeAdapters(Record):
    """The adapters of one recipe in an evaluation."""

    adapters: list[str]
    """Names of the adapters, smallest seed first."""
    seeds: list[int | None]
    """Seed of each adapter; None if the adapter has no training manifest."""


class RecipeRate(SeedSpread):
    """The rate of a metric for one recipe: mean and spread over its adapters."""

    n: int
    """Number of questions that all adapters of the recipe answered."""
    low: float | None
    """Lower end of the 95 % confidence interval for `mean`, over seeds and clusters of questions. None with one seed,
    because one adapter does not show how much the seed matters."""
    high: float | None
    """Upper end of the interval; None with one seed."""


class RecipeSummary(RecipeAdapters):
    """Results of one recipe."""

    rates: dict[str, RecipeRate]
    """Metric -> rate. Metrics without an answer in their population are left out."""


class RecipeTest(RecipeDifference):
    """The difference between two recipes in one metric. The base model counts as a recipe with one adapter."""

    metric: str
    recipe_a: str
    recipe_b: str
    p_holm: float | None
    """`p` after Holm's correction, which covers all pairs of recipes that were tested on this metric."""
