"""Read a run folder that may be incomplete, damaged or hostile. Problems are collected and never raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.report.clean_json import clean_object, visible_text

M = TypeVar("M", bound=BaseModel)
P = ParamSpec("P")
T = TypeVar("T")

PROBLEMS_PER_FILE = 3
"""Maximum number of messages per file, because a file with 10,000 invalid rows does not need 10,000 messages."""


class Reader:
    """Reads files below `root` and collects the problems found in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unreadable: set[str] = set()
        """Paths, relative to `root`, of JSON files that exist but cannot be read."""
        self._problems: list[str] = []
        self._unknown_fields: dict[str, dict[str, None]] = {}

    @property
    def problems(self) -> list[str]:
        """One message per problem, starting with the file name. Files with the same unknown fields share a message."""
        files: dict[str, list[str]] = {}
        for name, fields in self._unknown_fields.items():
            files.setdefault(", ".join(fields), []).append(name)
        unknown = [
            f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: "
            f"ignored unknown fields: {fields}; another version wrote the file"
            for fields, names in files.items()
        ]
        return [*self._problems, *unknown]

    def record(self, path: Path, kind: type[M]) -> M | None:
        """Return the record in a JSON file, or None if the file is missing or is not a valid `kind`."""
        row = self._json_object(path)
        record = None if row is None else self.parse(path, kind, row)
        if record is None and path.is_file():
            self.unreadable.add(self._name(path))
        return record

    def records(self, path: Path, kind: type[M]) -> Iterator[M]:
        """Yield the valid records in a JSON-lines file. Only one line is in memory at a time."""
        for row in self.objects(path):
            if record := self.parse(path, kind, row):
                yield record

    def objects(self, path: Path) -> Iterator[dict[str, JsonValue]]:
        """Yield the JSON objects in a JSON-lines file. All unreadable lines are reported as one problem."""
        bad: list[int] = []
        try:
            with path.open("rb") as f:
                for number, line in enumerate(f, 1):
                    row = _json_line(line)
                    if row is not None:
                        yield row
                    elif line.strip():
                        bad.append(number)
        except FileNotFoundError:
            return
        except OSError as e:
            self.problem(path, e)
        if bad:
            self.problem(path, f"{len(bad)} lines are not JSON objects, first at line {bad[0]}")

    def parse(self, path: Path, kind: type[M], row: dict[str, JsonValue]) -> M | None:
        """Return `row` as an instance of `kind`. If `row` is invalid, record a problem with `path` and return None.

        Fields that `kind` does not define are reported and ignored, because another version may have written them.
        """
        try:
            return kind.model_validate(row)
        except ValidationError as e:
            unknown = [error["loc"] for error in e.errors() if error["type"] == "extra_forbidden"]
        for location in unknown:
            _remove(row, location)
        record = self.section(path, kind.model_validate, row)
        if record:
            ignored = self._unknown_fields.setdefault(self._name(path), {}) if unknown else {}
            ignored.update(dict.fromkeys(map(_dotted, unknown)))
        return record

    def section(self, path: Path, build: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return `build(*args, **kwargs)`. If the call fails, record a problem with `path` and return None."""
        try:
            return build(*args, **kwargs)
        except ValidationError as e:
            first = e.errors()[0]
            self.problem(path, f"{_dotted(first['loc'])}: {first['msg']}")
        except KeyError as e:
            self.problem(path, f"{e} is missing")
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as e:
            self.problem(path, f"unexpected content ({e})")
        return None

    def problem(self, path: Path, what: object) -> None:
        """Record a problem with `path`. Duplicates, and problems beyond PROBLEMS_PER_FILE for one file, are ignored."""
        name = self._name(path)
        problem = f"{name}: " + visible_text(str(what)).replace(f"{path}: ", "").replace(str(path), name)
        of_file = [known for known in self._problems if known.startswith(f"{name}: ")]
        if problem not in of_file and len(of_file) < PROBLEMS_PER_FILE:
            self._problems.append(problem)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _json_object(self, path: Path) -> dict[str, JsonValue] | None:
        if not path.is_file():
            return None
        try:
            value = read_json(path)
            if isinstance(value, dict):
                return clean_object(value)
        except (InvalidInputError, RecursionError) as e:
            self.problem(path, e)
            return None
        self.problem(path, "is not a JSON object")
        return None


def _json_line(line: bytes) -> dict[str, JsonValue] | None:
    try:
        row = json.loads(line)
        return clean_object(row) if isinstance(row, dict) else None
    except (ValueError, RecursionError):
        return None


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _remove(row: JsonValue, location: tuple[int | str, ...]) -> None:
    """Delete the field at `location`, a path as pydantic reports it. Do nothing if `row` has no such field."""
    *parents, leaf = location
    for step in parents:
        if isinstance(row, dict) and step in row:
            row = row[str(step)]
        elif isinstance(row, list) and isinstance(step, int) and step < len(row):
            row = row[step]
    if isinstance(row, dict):
        row.pop(str(leaf), None)
