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
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from bench.statistics_coverage import Coverage, measure_difference, measure_rate, measure_recipes, question_sets
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Record

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
SEED_SDS = (0.0, 0.05)
"""Standard deviations over seeds of an adapter's rate."""


class StatisticsFigures(Record):
    """The content of statistics.json."""

    replications: int
    coverage: list[Coverage]


def measure(replications: int, names: Sequence[str] = ()) -> Iterator[Coverage]:
    """Yield the coverage for every question set in `names` (default: all), true value and correlation."""
    sets = {name: np.asarray(sizes) for name, sizes in question_sets().items() if not names or name in names}
    for (name, sizes), correlation in product(sets.items(), CORRELATIONS):
        for rate in (RARE, *RATES):
            yield measure_rate(name, sizes, rate, correlation, replications)
        for difference in DIFFERENCES:
            yield measure_difference(name, sizes, difference, correlation, replications)
    for seed_sd, correlation in product(SEED_SDS, CORRELATIONS):
        yield from measure_recipes("all", sets["all"], seed_sd, correlation, replications)


def missed_limits(coverage: Sequence[Coverage]) -> Iterator[str]:
    """Yield one line for each limit that is not met. Recipes have no upper limit: their interval is conservative."""
    for found in coverage:
        if found.questions not in LIMITED or found.true_value == RARE:
            continue
        where = f"{found.kind} {found.true_value} at correlation {found.correlation} on {found.questions!r}"
        if not LOWEST <= found.coverage <= (1.0 if found.seed_sd is not None else HIGHEST):
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
