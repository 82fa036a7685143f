"""Reads records from files that a command of this package wrote. The message about a damaged file says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.files import parse_jsonl, read_json

R = TypeVar("R", bound=BaseModel)


def read_record(path: Path, kind: type[R], what: str, advice: str) -> R:
    """Return the record in a JSON file. Raises InvalidInputError if it is not `what`; `advice` says what to do."""
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as e:
        raise InvalidInputError(f"{path}: not {what} ({first_problem(e)}); {advice}") from None


def read_records(path: Path, kind: type[R], what: str, advice: str) -> list[R]:
    """Return the records in a JSON Lines file. Raises an InvalidInputError that lists every line that is not `what`."""
    rows, problems = parse_jsonl(path)
    records = []
    for number, row in rows:
        try:
            records.append(kind.model_validate(row))
        except ValidationError as e:
            problems.append(LineProblem(path, number, f"not {what} ({first_problem(e)}); {advice}"))
    if problems:
        raise InvalidInputError(problems)
    return records


def first_problem(error: ValidationError) -> str:
    """Return the place and message of the first problem, and the number of problems if there are several."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    more = f", and {error.error_count() - 1} more problems" * (error.error_count() > 1)
    return (f"{where}: " if where else "") + first["msg"] + more
