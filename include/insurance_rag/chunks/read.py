"""Read and check the two inputs of a run: clauses and evaluation questions, one JSON object a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk, Question

SAMPLES = Path(__file__).parents[1] / "samples"
SAMPLE_CHUNKS = SAMPLES / "chunked_data.jsonl"
SAMPLE_QUESTIONS = SAMPLES / "questions.jsonl"

R = TypeVar("R", bound=BaseModel)


def read_chunks(path: Path | str) -> list[Chunk]:
    """Read a chunk file; "sample" names the one that ships with the project.

    Raises InvalidInputError with every bad line: no JSON, a lacking or empty field, a repeated chunk_id, not UTF-8.
    """
    path = SAMPLE_CHUNKS if str(path) == "sample" else Path(path)
    return _read_records(path, Chunk, lambda chunk: chunk.chunk_id, "chunk_id")


def read_questions(path: Path | str) -> list[Question]:
    """Read evaluation questions; "sample" names those that ship with the project. Raises like `read_chunks`."""
    path = SAMPLE_QUESTIONS if str(path) == "sample" else Path(path)
    return _read_records(path, Question, lambda question: question.question_id, "question_id")


def _read_records(path: Path, model: type[R], identity: Callable[[R], str], name: str) -> list[R]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror})") from e
    records: list[R] = []
    problems: list[str] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = model.model_validate_json(line)  # parses and checks in one pass
        except ValidationError as e:
            problems += [f"{path}:{number}: {fault}" for fault in _faults(line, e)]
            continue
        if (seen := first_line.setdefault(identity(record), number)) != number:
            problems.append(
                f"{path}:{number}: {name} {identity(record)!r} stands on line {seen} already; make it unique"
            )
        records.append(record)
    if not records and not problems:
        problems.append(f"{path}: is empty; one JSON object a line is wanted")
    if problems:
        raise InvalidInputError(problems)
    return records


def _faults(line: bytes, error: ValidationError) -> list[str]:
    try:
        line.decode()
    except UnicodeDecodeError as e:
        return [f"not UTF-8 (byte {e.start} of the line); save the file as UTF-8"]
    faults = error.errors(include_url=False)
    if faults[0]["type"] == "json_invalid":
        return [f"not JSON ({faults[0]['ctx']['error']}); one object a line is wanted"]
    return [f"{'.'.join(map(str, fault['loc'])) or 'row'}: {fault['msg']}" for fault in faults]
