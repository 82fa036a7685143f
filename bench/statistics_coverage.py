"""Simulate clustered outcomes, and count how often the confidence intervals contain the true value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import pi, sin

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from insurance_rag.chunks import read_questions
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Question, Record
from insurance_rag.core.stats import (
    compare_recipes,
    estimate_clustering,
    paired_interval,
    recipe_interval,
    sign_flip_test,
    wilson,
)

Counts = npt.NDArray[np.int64]
Outcome = tuple[bool, bool, float, float]
"""Result of one replication: see `_outcome`."""

DISCORDANCE = 0.25
"""Fraction of the questions on which the two simulated models differ."""
SEEDS = 3
QUESTION_EFFECT = 0.3
"""Fraction of the latent variance that comes from the difficulty of the question, for recipes."""


class Coverage(Record):
    """How often the intervals for one true value contain it, over all replications."""

    questions: str
    """Name of the question set."""
    n: int
    clusters: int
    kind: str
    """rate, difference, recipe (rate of one recipe) or recipes (difference of two)."""
    true_value: float
    correlation: float
    """Intra-cluster correlation."""
    seed_sd: float | None = None
    """Standard deviation of the rate over seeds; None if there is only one adapter per model."""
    coverage: float
    before: float
    """Coverage of the interval that ignores clusters, and for recipes the seeds."""
    width: float
    """Mean width of the interval."""
    design_effect: float | None
    """Mean estimated design effect; None for recipes."""
    p_below_5_percent: float | None = None
    """Fraction of p values of the paired test below 5 %; None if there is a difference or no such test."""


def cluster_sizes(questions: Sequence[Question]) -> list[int]:
    """Return the number of questions per gold set, in ascending order. A question without gold chunks is a cluster."""
    return sorted(Counter("+".join(sorted(q.gold_chunk_ids)) or q.question_id for q in questions).values())


def question_sets() -> dict[str, list[int]]:
    """Return the cluster sizes of the sample questions and of some subsets, by name."""
    questions = read_questions("sample")
    by_hash = sorted(questions, key=lambda q: sha256_text("bench.statistics", q.question_id))
    by_chunk = sorted((q for q in questions if q.gold_chunk_ids), key=lambda q: (q.gold_chunk_ids, q.question_id))
    return {
        "all": cluster_sizes(questions),
        "answerable": cluster_sizes([q for q in questions if q.answerable]),
        "unanswerable": cluster_sizes([q for q in questions if not q.answerable]),
        "60 of all clusters": cluster_sizes(by_hash[:60]),
        "60 of few clusters": cluster_sizes(by_chunk[:60]),
        "12 documents of 25": [25] * 12,
    }


def simulate_counts(
    sizes: Counts, probabilities: Sequence[float], correlation: float, replications: int, rng: np.random.Generator
) -> Counts:
    """Return how many questions of each cluster have each outcome, with shape [replication, cluster, outcome].

    Each cluster draws its own probabilities from a Dirichlet distribution with mean `probabilities`. The indicator of
    every outcome then has the given intra-cluster correlation.
    """
    shape = (replications, len(sizes), len(probabilities))
    own = np.broadcast_to(np.asarray(probabilities), shape)
    if correlation:
        draws = rng.standard_gamma(own * (1 - correlation) / correlation) + 1e-300
        own = draws / draws.sum(axis=-1, keepdims=True)
    return rng.multinomial(np.broadcast_to(sizes, shape[:2]), own).astype(np.int64)


def measure_rate(name: str, sizes: Counts, rate: float, correlation: float, replications: int) -> Coverage:
    """Measure the intervals for the rate of one model."""
    rng = np.random.default_rng([int(1000 * rate), int(100 * correlation), len(sizes)])
    counts = simulate_counts(sizes, [rate, 1 - rate], correlation, replications, rng)
    clusters, n = np.repeat(np.arange(len(sizes)), sizes).tolist(), int(sizes.sum())
    found = []
    for own in counts:
        outcomes = np.repeat(np.tile([1, 0], len(sizes)), own.ravel()).tolist()
        clustering, count = estimate_clustering(outcomes, clusters), sum(outcomes)
        intervals = wilson(count, n, 0.95, clustering), wilson(count, n)
        found.append(_outcome(intervals, rate, clustering.variance_factor))
    return _coverage_of(name, sizes, correlation)(found, "rate", rate)


def measure_difference(name: str, sizes: Counts, difference: float, correlation: float, replications: int) -> Coverage:
    """Measure the intervals and, if the true difference is 0, the p values for two models on the same questions."""
    rng = np.random.default_rng([7, int(1000 * difference), int(100 * correlation), len(sizes)])
    only_a, only_b = (DISCORDANCE - difference) / 2, (DISCORDANCE + difference) / 2
    counts = simulate_counts(sizes, [only_a, only_b, 1 - DISCORDANCE], correlation, replications, rng)
    clusters, n = np.repeat(np.arange(len(sizes)), sizes).tolist(), int(sizes.sum())
    found, below = [], 0
    for own in counts:
        values = np.repeat(np.tile([-1, 1, 0], len(sizes)), own.ravel()).tolist()
        clustering = estimate_clustering(values, clusters)
        pair = values.count(-1), values.count(1), n
        intervals = paired_interval(*pair, 0.95, clustering), paired_interval(*pair)
        found.append(_outcome(intervals, difference, clustering.variance_factor))
        below += not difference and sign_flip_test(values, clusters) < 0.05
    coverage = _coverage_of(name, sizes, correlation)(found, "difference", difference)
    return coverage if difference else coverage.model_copy(update={"p_below_5_percent": round(below / replications, 4)})


def measure_recipes(
    name: str, sizes: Counts, seed_sd: float, correlation: float, replications: int
) -> tuple[Coverage, Coverage]:
    """Measure the intervals for the rate of a recipe, and for the difference of two. Each has `SEEDS` adapters.

    The true rates are 47.5 % and 52.5 %.
    """
    rng = np.random.default_rng([11, int(1000 * seed_sd), int(100 * correlation), len(sizes)])
    names = np.repeat(np.arange(len(sizes)), sizes)
    ids = [str(i) for i in range(len(names))]
    clusters = dict(zip(ids, map(str, names.tolist()), strict=True))
    independent = {q: q for q in ids}
    of_rate, of_difference = [], []
    for _ in range(replications):
        a, b = (
            [dict(zip(ids, outcomes, strict=True)) for outcomes in adapters.tolist()]
            for adapters in simulate_recipes(names, (0.475, 0.525), seed_sd, correlation, rng)
        )
        intervals = recipe_interval(a, clusters), recipe_interval(a[:1], independent)
        of_rate.append(_outcome(intervals, 0.475, 0.0))
        both, single = compare_recipes(a, b, clusters), compare_recipes(a[:1], b[:1], independent)
        intervals = (both.low or 0.0, both.high or 0.0), (single.low or 0.0, single.high or 0.0)
        of_difference.append(_outcome(intervals, 0.05, 0.0))
    of_set = _coverage_of(name, sizes, correlation)
    rate, difference = of_set(of_rate, "recipe", 0.475), of_set(of_difference, "recipes", 0.05)
    update = {"design_effect": None, "seed_sd": seed_sd}
    return rate.model_copy(update=update), difference.model_copy(update=update)


def simulate_recipes(
    clusters: Counts, rates: Sequence[float], seed_sd: float, correlation: float, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the outcomes of each recipe with shape [seed, question]. `rates` are the mean rates of the recipes.

    An outcome is true if a standard normal variable is below the quantile of the adapter's rate. The variable is the
    sum of effects of the cluster (half of it shared by the recipes), of the question (shared by all) and of chance.
    """
    n, n_clusters = len(clusters), int(clusters.max()) + 1
    of_cluster = sin(pi / 2 * correlation)  # the correlation of normal variables that gives this one at a rate of 1/2
    shared = np.sqrt(of_cluster / 2) * rng.standard_normal(n_clusters)[clusters]
    shared += np.sqrt(QUESTION_EFFECT) * rng.standard_normal(n)
    for rate in rates:
        own = np.sqrt(of_cluster / 2) * rng.standard_normal(n_clusters)[clusters]
        chance = np.sqrt(1 - of_cluster - QUESTION_EFFECT) * rng.standard_normal((SEEDS, n))
        quantiles = ndtri(np.clip(rate + seed_sd * rng.standard_normal(SEEDS), 0.01, 0.99))
        yield shared + own + chance < quantiles[:, None]


def _outcome(intervals: Sequence[tuple[float, float] | None], true_value: float, design_effect: float) -> Outcome:
    """Return whether the new and the earlier interval contain the true value, the new one's width and the effect."""
    (low, high), (low_before, high_before) = (interval or (0.0, 0.0) for interval in intervals)
    return low <= true_value <= high, low_before <= true_value <= high_before, high - low, design_effect


def _coverage_of(name: str, sizes: Counts, correlation: float) -> Callable[[Sequence[Outcome], str, float], Coverage]:
    """Return a function that summarizes the replications for one question set and correlation."""

    def coverage(found: Sequence[Outcome], kind: str, true_value: float) -> Coverage:
        covered, before, width, effect = (round(float(value), 4) for value in np.mean(found, axis=0))
        return Coverage(
            questions=name,
            n=int(sizes.sum()),
            clusters=len(sizes),
            kind=kind,
            true_value=true_value,
            correlation=correlation,
            coverage=covered,
            before=before,
            width=width,
            design_effect=effect,
        )

    return coverage
