"""Look for hallucinations in any answers: one JSON object {context, question?, answer, answerable?} a line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "insurance-rag check --answers answers.jsonl --out verdicts.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--answers", type=Path, required=True, help="JSON lines of {context, question, answer}")
    parser.add_argument("--out", type=Path, required=True, help="the same rows with hallucinated, findings, refusal")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.core.artifacts import artifact
    from insurance_rag.core.files import write_jsonl
    from insurance_rag.core.stats import rate
    from insurance_rag.evaluation.checks import check_answer

    rows = _read(args.answers)
    verdicts = [check_answer(row["answer"], row["context"], row["question"], row.get("answerable")) for row in rows]
    n = write_jsonl(args.out, (row | v.model_dump() for row, v in zip(rows, verdicts, strict=True)))
    counts: dict[str, int] = {}
    for verdict in verdicts:
        for check in {finding.check for finding in verdict.findings}:
            counts[check] = counts.get(check, 0) + 1
    flagged = sum(verdict.hallucinated for verdict in verdicts)
    return artifact(args.out, rows=n, hallucination=rate(flagged, n), findings=counts)


def _read(path: Path) -> list[dict[str, Any]]:
    """The rows; InvalidInputError lists every line that is no object or lacks a text. A missing answer counts as empty."""
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.core.files import parse_jsonl
    from insurance_rag.korean.text import encodable

    numbered, problems = parse_jsonl(path)
    rows = []
    for line, row in numbered:
        if not isinstance(row, dict):
            problems.append(f"{path}:{line}: an object with context and answer is wanted")
            continue
        row = row | {"question": row.get("question") or "", "answer": row.get("answer") or ""}
        row = {key: encodable(value) if isinstance(value, str) else value for key, value in row.items()}
        wrong = [key for key in ("context", "question", "answer") if not isinstance(row.get(key), str)]
        problems += [f"{path}:{line}: {key}: a text is wanted" for key in wrong]
        if not isinstance(row.get("answerable"), bool | None):
            problems.append(f"{path}:{line}: answerable: true, false or nothing is wanted")
        rows.append(row)
    if problems:
        raise InvalidInputError(problems)
    return rows
