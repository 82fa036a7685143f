"""The files next to a question file Q.jsonl: Q.candidates.jsonl and Q.report.json."""

from __future__ import annotations

from pathlib import Path

from insurance_rag.core.record_files import read_record, read_records
from insurance_rag.core.records.questions import QuestionCandidate, QuestionsReport

CANDIDATES = ".candidates.jsonl"
"""Ending of the names of files with candidates."""
MAKE_AGAIN = "make the questions again"


def candidates_path(questions: Path) -> Path:
    """Return the path of the candidates that belong to a question file."""
    return questions.with_name(f"{questions.stem}{CANDIDATES}")


def report_path(questions: Path) -> Path:
    """Return the path of the report that belongs to a question file."""
    return questions.with_name(f"{questions.stem}.report.json")


def read_candidates(questions: Path) -> list[QuestionCandidate]:
    """Return the candidates. Raises an InvalidInputError that lists every line that cannot be read."""
    return read_records(candidates_path(questions), QuestionCandidate, "a candidate of `questions make`", MAKE_AGAIN)


def read_report(questions: Path) -> QuestionsReport | None:
    """Return the report, or None if there is none. Raises InvalidInputError if it is damaged."""
    path = report_path(questions)
    if not path.is_file():
        return None
    return read_record(path, QuestionsReport, "a report of `questions make`", MAKE_AGAIN)
