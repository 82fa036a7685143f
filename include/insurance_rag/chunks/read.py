"""Read and check the input files of a run: chunks and evaluation questions, with one JSON object per line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from insurance_rag.chunks.contradictions import find_contradictions
from insurance_rag.chunks.frozen import check_frozen
from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.records import Chunk, Question

SAMPLES = Path(__file__).parents[1] / "samples"
SAMPLE_CHUNKS = SAMPLES / "chunked_data.jsonl"
SAMPLE_QUESTIONS = SAMPLES / "questions.jsonl"

R = TypeVar("R", bound=BaseModel)


def chunk_file(chunks: Path | str) -> Path:
    """Return the path of a chunk file. The name "sample" stands for the file that ships with the project."""
    return SAMPLE_CHUNKS if str(chunks) == "sample" else local_path(chunks)


def question_file(questions: Path | str) -> Path:
    """Return the path of a file with evaluation questions. The name "sample" stands for the one of the project."""
    return SAMPLE_QUESTIONS if str(questions) == "sample" else local_path(questions)


def read_chunks(path: Path | str) -> list[Chunk]:
    """Read a chunk file. The path "sample" stands for the file that ships with the project.

    Raises an InvalidInputError that lists every invalid line. A line is invalid if it is not JSON or not UTF-8, if a
    field is missing or empty, or if it repeats a chunk_id. A problem that several lines have in common is listed once.
    """
    return _read_records(chunk_file(path), Chunk, lambda chunk: chunk.chunk_id, "chunk_id")


def read_questions(path: Path | str) -> list[Question]:
    """Read evaluation questions. The path "sample" stands for the file that ships with the project.

    Raises InvalidInputError for the same problems as `read_chunks`, with question_id in place of chunk_id, and for
    questions whose fields contradict each other. Also raises it for a frozen set that was changed (see `check_frozen`).
    """
    path = question_file(path)
    questions = _read_records(path, Question, lambda question: question.question_id, "question_id", find_contradictions)
    check_frozen(path, questions)
    return questions


def _no_problems(_: Sequence[tuple[int, R]]) -> Iterable[tuple[int, str]]:
    return ()


def _read_records(
    path: Path,
    model: type[R],
    id_of: Callable[[R], str],
    id_field: str,
    find_problems: Callable[[Sequence[tuple[int, R]]], Iterable[tuple[int, str]]] = _no_problems,
) -> list[R]:
    """Return the records in a file. `find_problems` yields (line, problem) for pairs (line, record)."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check the path and its permissions") from e
    records: list[tuple[int, R]] = []
    problems: list[str | LineProblem] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = model.model_validate_json(line)  # parses and validates in one pass
        except ValidationError as e:
            problems += [LineProblem(path, number, message) for message in _messages(line, e)]
            continue
        first = first_line.setdefault(id_of(record), number)
        if first != number:
            message = f"duplicate {id_field} {id_of(record)!r} (first seen at line {first}); make it unique"
            problems.append(LineProblem(path, number, message))
        records.append((number, record))
    problems += [LineProblem(path, number, message) for number, message in find_problems(records)]
    if not records and not problems:
        problems.append(f"{path}: is empty; write one JSON object per line")
    if problems:
        raise InvalidInputError(problems)
    return [record for _, record in records]


def _messages(line: bytes, error: ValidationError) -> list[str]:
    try:
        line.decode()
    except UnicodeDecodeError as e:
        return [f"not UTF-8 (byte {e.start} of the line); save the file as UTF-8"]
    faults = error.errors(include_url=False)
    if faults[0]["type"] == "json_invalid":
        return [f"not JSON ({faults[0]['ctx']['error']}); write one object per line"]
    return [
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}; fix the field"
        if fault["loc"]
        else "not a JSON object; write one"
        for fault in faults
    ]
