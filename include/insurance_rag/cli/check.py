"""Check answers from any model: find hallucinations, and compare each answer with its reference if there is one.

Each input line is {context, question, answer, answerable?, reference_answer?, required_numbers?}.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records import CheckedAnswers

EXAMPLE = "insurance-rag check --answers answers.jsonl --out verdicts.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--answers",
        type=Path,
        required=True,
        help="JSONL file; each line is {context, question, answer, answerable?, reference_answer?, required_numbers?}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="JSONL file to write: the rows plus hallucinated, findings, refusal, correct, problems and cannot_judge",
    )


def run(args: argparse.Namespace) -> CheckedAnswers:
    """Check the answers and write the verdicts. Raises an InvalidInputError that lists all invalid lines."""
    from insurance_rag.core.artifacts import describe
    from insurance_rag.core.files import write_jsonl
    from insurance_rag.core.records import CheckedAnswers
    from insurance_rag.core.stats import rate
    from insurance_rag.evaluation.external_answers import read_answers, verdict

    rows = read_answers(args.answers)
    verdicts = [verdict(answer) for _, answer in rows]
    merged = (row | found.model_dump(mode="json") for (row, _), found in zip(rows, verdicts, strict=True))
    n = write_jsonl(args.out, merged)
    findings = Counter(check for v in verdicts for check in dict.fromkeys(f.check for f in v.findings))
    judged = [v.correct for v in verdicts if v.correct is not None]
    return describe(
        args.out,
        CheckedAnswers,
        rows=n,
        hallucination=rate(sum(v.hallucinated for v in verdicts), n),
        correct=rate(sum(judged), len(judged)),
        findings=dict(findings),
    )
