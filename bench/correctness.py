"""Measure the metric `correct` against hand-labeled answers: balanced accuracy, and errors by kind.

    python -m bench.correctness [--out docs/results/correctness.json] [--errors]

The thresholds were chosen on the part `tuning`, and the limit applies to the part `report`. Intervals respect clusters
(questions on the same gold chunks). `--errors` prints every wrongly judged answer of the part `tuning`. Exits with 1 if
the balanced accuracy on the part `report` is below the limit.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.labeled_answers import LabeledAnswer, Part, labeled_answers
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Correctness, Rate, Record
from insurance_rag.core.stats import clustered_rate, estimate_clustering
from insurance_rag.evaluation.correctness import Expected, assess

MIN_BALANCED_ACCURACY = 0.95

Judged = tuple[LabeledAnswer, Correctness]


class BalancedAccuracy(Record):
    """Mean of the two fractions of rightly judged answers, one for correct and one for wrong answers."""

    value: float
    low: float
    """Lower end of the 95 % interval over clusters."""
    high: float


class PartFigures(Record):
    """Figures for one part of the labeled answers."""

    questions: int
    balanced_accuracy: BalancedAccuracy
    correct_accepted: Rate
    wrong_rejected: Rate
    by_kind: dict[str, Rate]
    """Kind of answer -> fraction that was judged rightly. Kinds of wrong answers begin with `wrong: `."""


def judge(part: Part) -> list[Judged]:
    """Assess all labeled answers of one part."""
    return [
        (row, assess(row.label.answer, Expected.of(row.question, row.gold_texts, row.context)))
        for row in labeled_answers(part)
    ]


def figures(judged: Sequence[Judged]) -> PartFigures:
    """Return the figures for the judged answers of one part."""
    by_kind: dict[str, list[Judged]] = {}
    for row, found in judged:
        prefix = "correct" if row.label.correct else "wrong"
        by_kind.setdefault(f"{prefix}: {row.label.kind}", []).append((row, found))
    return PartFigures(
        questions=len({row.question.question_id for row, _ in judged}),
        balanced_accuracy=balanced_accuracy(judged),
        correct_accepted=_rate([pair for pair in judged if pair[0].label.correct]),
        wrong_rejected=_rate([pair for pair in judged if not pair[0].label.correct]),
        by_kind={kind: _rate(by_kind[kind]) for kind in sorted(by_kind)},
    )


def is_right(pair: Judged) -> bool:
    """Return whether an answer was judged as its label says."""
    return pair[1].correct is pair[0].label.correct


def balanced_accuracy(judged: Sequence[Judged]) -> BalancedAccuracy:
    """Return the balanced accuracy with its 95 % interval over clusters.

    The balanced accuracy is the mean of the values n / (2 n_c) for rightly judged answers and 0 for others, where n_c
    is the number of answers with the same label. The interval uses the cluster-robust variance of this mean.
    """
    n = len(judged)
    sizes = {label: sum(row.label.correct is label for row, _ in judged) for label in (True, False)}
    values = [is_right(pair) * n / (2 * sizes[pair[0].label.correct]) for pair in judged]
    clustering = estimate_clustering(values, [row.cluster for row, _ in judged])
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / n**2 * clustering.variance_factor
    half = clustering.quantile(0.95) * math.sqrt(variance)
    return BalancedAccuracy(value=round(mean, 4), low=round(mean - half, 4), high=round(min(1.0, mean + half), 4))


def _rate(judged: Sequence[Judged]) -> Rate:
    return clustered_rate([is_right(pair) for pair in judged], [row.cluster for row, _ in judged])


def _table(part: str, found: PartFigures) -> str:
    accuracy = found.balanced_accuracy
    lines = [f"{part}: balanced accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"]
    rates = {"correct answers accepted": found.correct_accepted, "wrong answers rejected": found.wrong_rejected}
    for kind, value in {**rates, **found.by_kind}.items():
        lines.append(f"  {kind:28} {value.rate or 0:.3f} [{value.low or 0:.3f}, {value.high or 0:.3f}] n {value.n}")
    return "\n".join(lines)


def _errors(judged: Sequence[Judged]) -> str:
    lines = []
    for row, found in judged:
        if found.correct is not row.label.correct:
            label = "correct" if row.label.correct else f"wrong: {row.label.kind}"
            problems = "; ".join(f"{problem.kind}: {problem.text}" for problem in found.problems)
            reference = row.question.reference_answer
            lines.append(f"[{label}] {row.question.question}\n  {reference}\n  {row.label.answer}\n  {problems}")
    return "\n".join(lines)


def main() -> int:
    """Print the tables. Return 1 if the limit is not met, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    parser.add_argument("--errors", action="store_true", help="print the errors on the part `tuning` instead")
    args = parser.parse_args()
    if args.errors:
        print(_errors(judge("tuning")))
        return 0
    parts: dict[str, PartFigures] = {part: figures(judge(part)) for part in ("tuning", "report")}
    print("\n".join(_table(part, found) for part, found in parts.items()))
    if args.out:
        write_json(args.out, {part: found.model_dump(mode="json") for part, found in parts.items()})
    reached = parts["report"].balanced_accuracy.value
    if reached < MIN_BALANCED_ACCURACY:
        print(f"MISSED balanced accuracy {reached}, at least {MIN_BALANCED_ACCURACY} wanted")
    return int(reached < MIN_BALANCED_ACCURACY)


if __name__ == "__main__":
    sys.exit(main())
