"""Reads the rows of a file with live questions: JSON Lines, JSON or CSV, as dicts from column to value."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.questions.live.lines import MAX_CHARACTERS, read_lines

Row = dict[str, JsonValue]
MAX_JSON_BYTES = 256 * 1024 * 1024
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class FileRow:
    """One row of a file: its values, or what is wrong with it."""

    line: int
    values: Row = field(default_factory=dict)
    problem: str = ""


def read_rows(path: Path) -> Iterator[FileRow]:
    """Yield the rows of a file one after the other, whose format is that of its suffix.

    Raises InvalidInputError if the file as a whole cannot be read.
    """
    readers = {".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json, ".csv": _csv, ".tsv": _csv}
    if (suffix := path.suffix.lower()) not in readers:
        raise InvalidInputError(f"{path}: unknown format {suffix or 'without a suffix'}; use .jsonl, .json or .csv")
    return readers[suffix](path)


def _json_lines(path: Path) -> Iterator[FileRow]:
    for number, (line, problem) in enumerate(read_lines(path), 1):
        if problem or line.strip():
            yield FileRow(number, problem=problem) if problem else _json_row(number, line)


def _json_row(number: int, line: str) -> FileRow:
    try:
        value = json.loads(line.lstrip("\ufeff"))
    except json.JSONDecodeError as e:
        return FileRow(number, problem=f"invalid JSON ({e.msg}); write one JSON object per line")
    except (ValueError, RecursionError):
        return FileRow(number, problem="nested too deeply, or has a number with too many digits; remove the record")
    return _object_row(number, value)


def _object_row(number: int, value: JsonValue) -> FileRow:
    if not isinstance(value, dict):
        return FileRow(number, problem="is not a JSON object; write one object per record")
    return FileRow(number, value)


def _json(path: Path) -> Iterator[FileRow]:
    """Yield the objects of a JSON array, of an answer of an API (`data`), or of one downloaded trace (`trace`)."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InvalidInputError(f"{path}: is larger than 256 MiB, too large for one JSON value; export JSON Lines")
        content = path.read_bytes()
        value = json.loads(content) if content.strip() else []
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check the path and its permissions") from e
    except (ValueError, RecursionError):  # also one object per line, in a file named .json
        yield from _json_lines(path)
        return
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    elif isinstance(value, dict) and isinstance(trace := value.get("trace"), dict):
        value = [{"scores": value.get("scores"), **trace}]
    for number, row in enumerate(value if isinstance(value, list) else [value], 1):
        yield _object_row(number, row)


def _csv(path: Path) -> Iterator[FileRow]:
    problems: dict[int, str] = {}
    lines = _lines_of_csv(path, problems)
    first = next(lines, "")
    if 1 in problems:
        raise InvalidInputError([LineProblem(path, 1, problems[1])])
    delimiter = max(DELIMITERS, key=first.count)
    csv.field_size_limit(MAX_CHARACTERS)
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    if repeated := sorted({name for name in header if name and header.count(name) > 1}):
        raise InvalidInputError([LineProblem(path, 1, f"the column {', '.join(repeated)} occurs twice; rename one")])
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 2  # the header has been read already
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as e:
            yield FileRow(start, problem=f"is not valid CSV ({e}); close every quote, or export the file again")
            continue
        if found := [problems[n] for n in range(start, reader.line_num + 2) if n in problems]:
            yield FileRow(start, problem=found[0])
        elif len(cells) != len(header) and any(cells):
            yield FileRow(start, problem=f"has {len(cells)} cells instead of {len(header)}; repair the row")
        elif any(cells):
            yield FileRow(start, dict(zip(header, cells, strict=True)))


def _lines_of_csv(path: Path, problems: dict[int, str]) -> Iterator[str]:
    """Yield the lines, and record what is wrong with them by line number."""
    for number, (line, problem) in enumerate(read_lines(path), 1):
        if problem:
            problems[number] = problem
        yield (line.lstrip("\ufeff") if number == 1 else line).replace("\0", "")
