"""Measure the evaluation's answer checks: their recall per kind of fault, and their specificity on correct answers.

    python -m bench.checks [--out docs/results/checks.json]

There are two sets of answers. In the first, faults are inserted into correct answers, with fixed random seeds. Its
correct answers are the sample's reference answers with their gold chunks, sentences quoted from the sample chunks, and
refusals of unanswerable questions. There are at least 40 faulty answers per kind of fault. The second set are the
answers that people wrote and labeled (`bench.labeled_checks`). Exits with 1 if a limit is not met.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.check_faults import Sample, correct_answers, faulty_samples
from bench.labeled_answers import Part
from bench.labeled_checks import LabelFigures, measure_labels
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Rate, Record
from insurance_rag.core.stats import rate
from insurance_rag.evaluation.checks import check_answer

MIN_RECALL, MIN_SPECIFICITY = 0.98, 0.98
MIN_MEANING_RECALL = {
    "negation": 0.8,
    "swapped roles": 0.7,
    "number from elsewhere in the chunk": 0.6,
    "wrong article among those shown": 0.8,
}
"""Limits for faults in what an answer says, which rules find less reliably."""
MIN_LABELED_RECALL = {"roles": 0.7, "article": 0.8, "negated": 0.5}
MIN_LABELED_ELSEWHERE, MIN_LABELED_SPECIFICITY = 0.55, 0.97
"""The same for the labeled answers of the part `report`."""
MIN_SAMPLES, MAX_SAMPLES = 40, 120
"""Smallest and largest number of samples per kind of fault."""


class CheckFigures(Record):
    """The content of checks.json."""

    specificity: Rate
    """Fraction of the correct answers that have no finding."""
    recall: dict[str, Rate]
    """Recall by kind of fault."""
    flagged_wrongly: list[str]
    """Correct answers that have a finding."""
    missed: dict[str, list[str]]
    """Kind of fault -> faulty answers without a finding."""
    labels: dict[Part, LabelFigures]
    """Figures for the labeled answers of each part. The checks know the products of the chunks."""
    without_products: dict[Part, LabelFigures]
    """The same if the checks see only the texts of the chunks."""


def measure() -> CheckFigures:
    """Run the checks on the correct and the faulty answers and return the figures."""
    return _measure(["tuning", "report"], ["tuning", "report"])


def measure_limited() -> CheckFigures:
    """Return only the figures that have a limit, in half of the time."""
    return _measure(["report"], [])


def _measure(parts: Sequence[Part], parts_without_products: Sequence[Part]) -> CheckFigures:
    samples = correct_answers()
    flagged = [s for s in samples if has_finding(s, s.answer)]
    found: dict[str, list[bool]] = {}
    missed: dict[str, list[str]] = {}
    for faulty in faulty_samples(samples):
        outcomes = found.setdefault(faulty.kind, [])
        if len(outcomes) == MAX_SAMPLES:
            continue
        outcomes.append(has_finding(faulty.sample, faulty.answer))
        if not outcomes[-1]:
            missed.setdefault(faulty.kind, []).append(faulty.answer)
    return CheckFigures(
        specificity=rate(len(samples) - len(flagged), len(samples)),
        recall={kind: rate(sum(outcomes), len(outcomes)) for kind, outcomes in found.items()},
        flagged_wrongly=[sample.answer for sample in flagged],
        missed=missed,
        labels={part: measure_labels(part) for part in parts},
        without_products={part: measure_labels(part, with_products=False) for part in parts_without_products},
    )


def has_finding(sample: Sample, answer: str) -> bool:
    """Return whether the checks find a fault in `answer` as an answer to the sample's question."""
    return bool(check_answer(answer, sample.context, sample.question, sample.answerable).findings)


def missed_limits(figures: CheckFigures) -> list[str]:
    """Return one line for each limit that is not met."""
    specificity = figures.specificity.rate or 0.0
    lines = [f"specificity {specificity}"] if specificity < MIN_SPECIFICITY else []
    for kind, found in figures.recall.items():
        if found.n < MIN_SAMPLES:
            lines.append(f"{kind}: only {found.n} samples")
        if (found.rate or 0.0) < MIN_MEANING_RECALL.get(kind, MIN_RECALL):
            lines.append(f"{kind}: recall {found.rate}")
    return lines + _missed_labeled_limits(figures.labels["report"])


def _missed_labeled_limits(labels: LabelFigures) -> list[str]:
    found = {kind: (labels.recall[kind], limit) for kind, limit in MIN_LABELED_RECALL.items()}
    found["elsewhere and tier"] = (labels.number_from_elsewhere, MIN_LABELED_ELSEWHERE)
    found["specificity"] = (labels.specificity, MIN_LABELED_SPECIFICITY)
    return [f"labeled answers, {name}: {r.rate}" for name, (r, limit) in found.items() if (r.rate or 0.0) < limit]


def table_line(name: str, found: Rate) -> str:
    """Return one line of the printed table."""
    return f"{name:40} {found.rate or 0:.3f} [{found.low or 0:.3f}, {found.high or 0:.3f}] n {found.n}"


def main() -> int:
    """Print the table. Return 1 if a limit is not met, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    figures = measure()
    print(table_line("specificity on correct answers", figures.specificity))
    for kind, found in figures.recall.items():
        print(table_line(kind, found))
    for part, labels in figures.labels.items():
        print(f"\nlabeled answers, part {part}: {labels.questions} questions")
        print(table_line("specificity on correct answers", labels.specificity))
        for kind, found in labels.recall.items():
            print(table_line(kind, found))
        print(table_line("elsewhere and tier", labels.number_from_elsewhere))
    if args.out:
        write_json(args.out, figures.model_dump(mode="json"))
    missed = missed_limits(figures)
    print("\n".join(f"MISSED {line}" for line in missed))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
