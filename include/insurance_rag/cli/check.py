"""Find hallucinations in answers from any model. Each input line is {context, question?, answer, answerable?}."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    from insurance_rag.core.errors import LineProblem
    from insurance_rag.core.records import CheckedAnswers, Verdict

EXAMPLE = "insurance-rag check --answers answers.jsonl --out verdicts.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--answers", type=Path, required=True, help="JSONL file; each line is {context, question?, answer, answerable?}"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="JSONL file to write: the rows plus hallucinated, findings, refusal"
    )


def run(args: argparse.Namespace) -> CheckedAnswers:
    """Check the answers and write the verdicts. Raises an InvalidInputError that lists all invalid lines."""
    from insurance_rag.core.artifacts import describe
    from insurance_rag.core.files import write_jsonl
    from insurance_rag.core.records import CheckedAnswers
    from insurance_rag.core.stats import rate

    rows = _read_rows(args.answers)
    verdicts = [_check(row) for row in rows]
    n = write_jsonl(args.out, (row | v.model_dump(mode="json") for row, v in zip(rows, verdicts, strict=True)))
    findings = Counter(check for v in verdicts for check in dict.fromkeys(f.check for f in v.findings))
    flagged = sum(verdict.hallucinated for verdict in verdicts)
    return describe(args.out, CheckedAnswers, rows=n, hallucination=rate(flagged, n), findings=dict(findings))


def _check(row: dict[str, JsonValue]) -> Verdict:
    from insurance_rag.evaluation.checks import check_answer

    answerable = row.get("answerable")
    return check_answer(
        str(row["answer"]),
        str(row["context"]),
        str(row["question"]),
        answerable if isinstance(answerable, bool) else None,
    )


def _read_rows(path: Path) -> list[dict[str, JsonValue]]:
    """Return the rows. A question or answer that is missing or null becomes an empty string."""
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.files import parse_jsonl

    numbered, problems = parse_jsonl(path)
    rows = []
    for line, row in numbered:
        if isinstance(row, dict):
            row = _cleaned(row)
        problems += _problems(path, line, row)
        rows.append(row)
    if problems:
        raise InvalidInputError(problems)
    return rows


def _cleaned(row: dict[str, JsonValue]) -> dict[str, JsonValue]:
    from insurance_rag.korean.text import replace_surrogates

    row = row | {"question": row.get("question") or "", "answer": row.get("answer") or ""}
    return {key: replace_surrogates(value) if isinstance(value, str) else value for key, value in row.items()}


def _problems(path: Path, line: int, row: JsonValue) -> list[LineProblem]:
    from insurance_rag.core.errors import LineProblem

    if not isinstance(row, dict):
        return [LineProblem(path, line, "not a JSON object; write {context, question, answer}")]
    problems = [
        LineProblem(path, line, f"{key} is not a string; write it as a JSON string")
        for key in ("context", "question", "answer")
        if not isinstance(row.get(key), str)
    ]
    if not isinstance(row.get("answerable"), bool | None):
        problems.append(LineProblem(path, line, "answerable is not true, false or null; write one of these"))
    return problems
