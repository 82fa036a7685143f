"""Measure how often the confidence intervals contain the true value, on the cluster sizes of the sample questions.

    python -m bench.statistics [--out docs/results/statistics.json] [--replications 4000]

Outcomes are simulated with correlation within clusters: those of one model are beta-binomial, and the differences of
two models on the same questions are Dirichlet-multinomial. Both have a chosen intra-cluster correlation. For recipes,
outcomes come from a normal model with effects of clusters, questions and seeds. Every interval is nominally a 95 %
interval, computed by the functions of `insurance_rag.core.stats` that the evaluation and the promotion gate use. The
column `before` is the same interval if all questions are treated as independent. Exits with 1 if a limit is not met.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from math import pi, sin
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from insurance_rag.chunks import read_questions
from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Question, Record
from insurance_rag.core.stats import compare_recipes, estimate_clustering, paired_interval, sign_flip_test, wilson

Counts = npt.NDArray[np.int64]

LOWEST, HIGHEST = 0.93, 0.97
"""Limits for the coverage of rates and differences on the question sets in `LIMITED`."""
LOWEST_SIZE, HIGHEST_SIZE = 0.02, 0.055
"""Limits for the fraction of p values below 5 % if there is no difference. Exact tests are below 5 %."""
LIMITED = ("all", "answerable", "unanswerable")
CORRELATIONS = (0.0, 0.2, 0.4)
RATES = (0.1, 0.3, 0.5, 0.8)
RARE = 0.02
"""A rate without a limit: with so few cases, the design effect cannot be estimated well."""
DIFFERENCES = (0.0, 0.05, 0.1)
DISCORDANCE = 0.25
"""Fraction of the questions on which the two simulated models differ."""
SEEDS = 3
SEED_SDS = (0.0, 0.05)
"""Standard deviations over seeds of an adapter's rate."""
QUESTION_EFFECT = 0.3
"""Fraction of the latent variance that comes from the difficulty of the question, for recipes."""


class Coverage(Record):
    """How often the intervals for one true value contain it, over all replications."""

    questions: str
    """Name of the question set."""
    n: int
    clusters: int
    kind: str
    """rate, difference or recipes."""
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


class StatisticsFigures(Record):
    """The content of statistics.json."""

    replications: int
    coverage: list[Coverage]


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
    return _coverage(
        found, questions=name, n=n, clusters=len(sizes), kind="rate", true_value=rate, correlation=correlation
    )


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
    coverage = _coverage(
        found,
        questions=name,
        n=n,
        clusters=len(sizes),
        kind="difference",
        true_value=difference,
        correlation=correlation,
    )
    return coverage if difference else coverage.model_copy(update={"p_below_5_percent": round(below / replications, 4)})


def measure_recipes(name: str, sizes: Counts, seed_sd: float, correlation: float, replications: int) -> Coverage:
    """Measure the intervals for two recipes with `SEEDS` adapters each. The true difference is 5 points."""
    rng = np.random.default_rng([11, int(1000 * seed_sd), int(100 * correlation), len(sizes)])
    names = np.repeat(np.arange(len(sizes)), sizes)
    ids = [str(i) for i in range(len(names))]
    clusters = dict(zip(ids, map(str, names.tolist()), strict=True))
    found = []
    for _ in range(replications):
        recipes = [
            [dict(zip(ids, outcomes, strict=True)) for outcomes in adapters.tolist()]
            for adapters in simulate_recipes(names, (0.475, 0.525), seed_sd, correlation, rng)
        ]
        both = compare_recipes(recipes[0], recipes[1], clusters)
        single = compare_recipes(recipes[0][:1], recipes[1][:1], {q: q for q in ids})
        intervals = (both.low or 0.0, both.high or 0.0), (single.low or 0.0, single.high or 0.0)
        found.append(_outcome(intervals, 0.05, 0.0))
    coverage = _coverage(
        found, questions=name, n=len(ids), clusters=len(sizes), kind="recipes", true_value=0.05, correlation=correlation
    )
    return coverage.model_copy(update={"design_effect": None, "seed_sd": seed_sd})


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


def _outcome(
    intervals: Sequence[tuple[float, float] | None], true_value: float, design_effect: float
) -> tuple[bool, bool, float, float]:
    """Return whether the new and the earlier interval contain the true value, the new one's width and the effect."""
    (low, high), (low_before, high_before) = (interval or (0.0, 0.0) for interval in intervals)
    return low <= true_value <= high, low_before <= true_value <= high_before, high - low, design_effect


def _coverage(
    found: Sequence[tuple[bool, bool, float, float]],
    *,
    questions: str,
    n: int,
    clusters: int,
    kind: str,
    true_value: float,
    correlation: float,
) -> Coverage:
    coverage, before, width, effect = (round(float(value), 4) for value in np.mean(found, axis=0))
    return Coverage(
        questions=questions,
        n=n,
        clusters=clusters,
        kind=kind,
        true_value=true_value,
        correlation=correlation,
        coverage=coverage,
        before=before,
        width=width,
        design_effect=effect,
    )


def measure(replications: int, names: Sequence[str] = ()) -> Iterator[Coverage]:
    """Yield the coverage for every question set in `names` (default: all), true value and correlation."""
    sets = {name: np.asarray(sizes) for name, sizes in question_sets().items() if not names or name in names}
    for (name, sizes), correlation in product(sets.items(), CORRELATIONS):
        for rate in (RARE, *RATES):
            yield measure_rate(name, sizes, rate, correlation, replications)
        for difference in DIFFERENCES:
            yield measure_difference(name, sizes, difference, correlation, replications)
    for seed_sd, correlation in product(SEED_SDS, CORRELATIONS):
        yield measure_recipes("all", sets["all"], seed_sd, correlation, replications)


def missed_limits(coverage: Sequence[Coverage]) -> Iterator[str]:
    """Yield one line for each limit that is not met. Recipes have no upper limit: their interval is conservative."""
    for found in coverage:
        if found.questions not in LIMITED or found.true_value == RARE:
            continue
        where = f"{found.kind} {found.true_value} at correlation {found.correlation} on {found.questions!r}"
        if not LOWEST <= found.coverage <= (1.0 if found.kind == "recipes" else HIGHEST):
            yield f"{where}: coverage {found.coverage}"
        size = found.p_below_5_percent
        if size is not None and not LOWEST_SIZE <= size <= HIGHEST_SIZE:
            yield f"{where}: {size} of the p values are below 5 %"


def table(coverage: Sequence[Coverage]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| questions | n | clusters | of | true value | correlation | before | now | width | design effect |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for found in coverage:
        kind = found.kind if found.seed_sd is None else f"{found.kind}, seed sd {found.seed_sd}"
        effect = "" if found.design_effect is None else f"{found.design_effect:.2f}"
        yield (
            f"| {found.questions} | {found.n} | {found.clusters} | {kind} | {found.true_value} | {found.correlation} | "
            f"{100 * found.before:.1f} % | {100 * found.coverage:.1f} % | {found.width:.3f} | {effect} |"
        )


def main() -> int:
    """Print the table. Return 1 if a limit is not met, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    parser.add_argument("--replications", type=int, default=4000, help="simulations per row (default: %(default)s)")
    args = parser.parse_args()
    coverage = list(measure(args.replications))
    print("\n".join(table(coverage)))
    print("\nFraction of p values below 5 % if there is no difference:")
    for found in coverage:
        if found.p_below_5_percent is not None:
            print(f"{found.questions}, correlation {found.correlation}: {100 * found.p_below_5_percent:.1f} %")
    if args.out:
        figures = StatisticsFigures(replications=args.replications, coverage=coverage)
        write_json(args.out, figures.model_dump(mode="json"))
    missed = list(missed_limits(coverage))
    print("\n".join(f"MISSED {line}" for line in missed))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
