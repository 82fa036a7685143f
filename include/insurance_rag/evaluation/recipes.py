"""Group adapters into recipes by their training manifests, and compare recipes over seeds and clusters of questions.

A comparison of single adapters cannot show that a recipe is better: with another seed, the same recipe gives an adapter
that can differ by many points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

from insurance_rag.core.adapter_folder import AdapterFolder, seed_name
from insurance_rag.core.metrics import Metric, question_clusters
from insurance_rag.core.records import ScoredAnswer
from insurance_rag.core.records.recipes import RecipeAdapters, RecipeRate, RecipeSummary, RecipeTest
from insurance_rag.core.stats import compare_recipes, holm, recipe_interval, seed_spread
from insurance_rag.evaluation.metrics import ordered_metrics
from insurance_rag.evaluation.requests import BASE

Rows = Sequence[ScoredAnswer]


@dataclass(frozen=True)
class _Member:
    """An adapter with the facts that decide its recipe."""

    name: str
    seed: int | None
    recipe: str
    key: str
    """Equal for adapters that differ only in the seed."""

    @property
    def named_after_seed(self) -> bool:
        """Whether the name ends with the seed, e.g. `v2-s42`."""
        return self.seed is not None and self.name.endswith(seed_name("", self.seed)) and len(self.stem) > 0

    @property
    def stem(self) -> str:
        """The name without the seed at its end."""
        return self.name if self.seed is None else self.name.removesuffix(seed_name("", self.seed))


def group_recipes(adapters: Mapping[str, Path]) -> dict[str, RecipeAdapters]:
    """Return the adapters (name -> folder) by recipe. Adapters are of one recipe if they differ only in the seed.

    A recipe has the name that its adapters share, e.g. `v2` for `v2-s42` and `v2-s43`, otherwise the name in the
    training manifests. An adapter without a manifest, or with a seed that its recipe already has, is a recipe of its
    own: the same training, counted twice, would make the spread over seeds too small. Raises InvalidInputError if a
    manifest cannot be read.
    """
    groups: dict[str, list[_Member]] = {}
    members = [_member(name, folder) for name, folder in adapters.items()]
    for member in sorted(members, key=lambda member: not member.named_after_seed):
        group = groups.setdefault(member.key, [])
        if any(other.seed == member.seed for other in group):
            group = groups.setdefault(f"adapter {member.name}", [])
        group.append(member)
    recipes: dict[str, RecipeAdapters] = {}
    position = {name: place for place, name in enumerate(adapters)}
    for group in sorted(groups.values(), key=lambda group: min(position[member.name] for member in group)):
        ordered = sorted(group, key=lambda member: (member.seed is None, member.seed))
        recipes[_unused_name(_recipe_name(ordered), recipes)] = RecipeAdapters(
            adapters=[member.name for member in ordered], seeds=[member.seed for member in ordered]
        )
    return recipes


def _member(name: str, folder: Path) -> _Member:
    manifest = AdapterFolder(folder).read_manifest()
    if manifest is None:
        return _Member(name, None, name, f"adapter {name}")
    return _Member(name, manifest.seed, manifest.recipe, f"{manifest.recipe} {manifest.recipe_fingerprint}")


def _recipe_name(group: Sequence[_Member]) -> str:
    stems = {member.stem for member in group if member.named_after_seed}
    if len(stems) == 1 and all(member.named_after_seed for member in group):
        return stems.pop()
    return group[0].name if len(group) == 1 else group[0].recipe


def _unused_name(name: str, used: Mapping[str, RecipeAdapters]) -> str:
    taken = {BASE, *used}
    numbered = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def summarize_recipes(rows: Rows, recipes: Mapping[str, RecipeAdapters]) -> dict[str, RecipeSummary]:
    """Return the results of each recipe. `rows` must be for one context source and one choice of prompt formats."""
    outcomes = {metric.name: _outcomes(rows, metric) for metric in ordered_metrics()}
    return {
        name: RecipeSummary(
            adapters=recipe.adapters,
            seeds=recipe.seeds,
            rates={metric: rate for metric, own in outcomes.items() if (rate := _recipe_rate(own, recipe))},
        )
        for name, recipe in recipes.items()
    }


def compare_all_recipes(rows: Rows, recipes: Mapping[str, RecipeAdapters]) -> list[RecipeTest]:
    """Return one test per compared metric and pair of recipes, of which at least one has several seeds.

    The base model is also compared. Two recipes with one adapter each are left out, because the paired tests of the
    models compare them.
    """
    base = RecipeAdapters(adapters=[BASE], seeds=[None])
    compared = {BASE: base, **recipes} if any(row.model == BASE for row in rows) else dict(recipes)
    metrics = [metric for metric in ordered_metrics() if metric.compared]
    return [test for metric in metrics for test in _tests(_outcomes(rows, metric), compared, metric.name)]


@dataclass(frozen=True)
class _Outcomes:
    """Whether each answer is counted by a metric, over the answers in the metric's population."""

    by_model: Mapping[str, Mapping[str, bool]]
    """Model -> question id -> whether the answer is counted."""
    clusters: Mapping[str, str]
    """Question id -> cluster."""

    def of(self, recipe: RecipeAdapters) -> list[Mapping[str, bool]]:
        return [self.by_model.get(adapter, {}) for adapter in recipe.adapters]


def _outcomes(rows: Rows, metric: Metric) -> _Outcomes:
    by_model: dict[str, list[ScoredAnswer]] = {}
    for row in rows:
        by_model.setdefault(row.model, []).append(row)
    clusters = question_clusters([row for row in rows if metric.population(row)])
    return _Outcomes({model: metric.outcomes(own) for model, own in by_model.items()}, clusters)


def _recipe_rate(outcomes: _Outcomes, recipe: RecipeAdapters) -> RecipeRate | None:
    """Return the rate of a recipe, or None if there is no question that all its adapters answered."""
    adapters = outcomes.of(recipe)
    interval = recipe_interval(adapters, outcomes.clusters)
    if interval is None:
        return None
    common = set.intersection(*(set(own) for own in adapters))
    spread = seed_spread([fmean(own[q] for q in common) for own in adapters])
    low, high = (round(end, 4) if len(adapters) > 1 else None for end in interval)
    return RecipeRate(**dict(spread), n=len(common), low=low, high=high)


def _tests(outcomes: _Outcomes, recipes: Mapping[str, RecipeAdapters], metric: str) -> Iterator[RecipeTest]:
    pairs = [(a, b) for a, b in combinations(recipes, 2) if max(len(recipes[a].adapters), len(recipes[b].adapters)) > 1]
    found = [compare_recipes(outcomes.of(recipes[a]), outcomes.of(recipes[b]), outcomes.clusters) for a, b in pairs]
    adjusted = iter(holm([difference.p for difference in found if difference.p is not None]))
    for (a, b), difference in zip(pairs, found, strict=True):
        p_holm = None if difference.p is None else next(adjusted)
        yield RecipeTest(metric=metric, recipe_a=a, recipe_b=b, p_holm=p_holm, **dict(difference))
