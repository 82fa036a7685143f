"""Reading a run folder that may be half-written, broken or hostile: what cannot be read is a problem, not a crash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.run_folder import RunFolder

T = TypeVar("T")

#: Characters that are not seen or that turn the text around them: C0, C1, direction marks and overrides, surrogates.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(value: Any) -> Any:
    """`value` with every invisible character of its texts made visible (␀, [U+202E], �)."""
    if isinstance(value, str):
        return _UNSEEN.sub(_picture, value.replace("\r\n", "\n"))
    if isinstance(value, list):
        return [visible(v) for v in value]
    if isinstance(value, dict):
        return {visible(k): visible(v) for k, v in value.items()}
    return value


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if code < 0xA0 or 0xD800 <= code <= 0xDFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return f"[U+{code:04X}]"


#: A file of 10,000 bad rows needs no 10,000 messages.
PROBLEMS_OF_A_FILE = 3


class Reader:
    """Reads files below `root`; `problems` collects what was wrong, each naming its file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []

    def json(self, path: Path) -> dict[str, Any] | None:
        """The object of a JSON file, or None where there is none or it cannot be read."""
        if not path.is_file():
            return None
        try:
            value = read_json(path)
        except (InvalidInputError, RecursionError) as e:
            self.problem(path, e)
            return None
        if not isinstance(value, dict):
            self.problem(path, "no JSON object")
            return None
        shown: dict[str, Any] = visible(value)
        return shown

    def jsonl(self, path: Path) -> Iterator[dict[str, Any]]:
        """The objects of a JSON-lines file, one line in memory at a time; unreadable lines make one problem."""
        bad: list[int] = []
        try:
            with path.open("rb") as f:
                for number, line in enumerate(f, 1):
                    row = _object(line)
                    if row is not None:
                        yield visible(row)
                    elif line.strip():
                        bad.append(number)
        except FileNotFoundError:
            return
        except OSError as e:
            self.problem(path, e)
        if bad:
            self.problem(path, f"{len(bad)} lines are no JSON objects, the first is line {bad[0]}")

    def section(self, path: Path, build: Callable[..., T], *arguments: Any) -> T | None:
        """`build(*arguments)`, or None with a problem where what `path` holds is not of the expected form."""
        try:
            return build(*arguments)
        except ValidationError as e:
            first = e.errors()[0]
            self.problem(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        except KeyError as e:
            self.problem(path, f"{e} is missing")
        except (TypeError, ValueError, AttributeError, IndexError) as e:
            self.problem(path, f"not of the expected form ({e})")
        return None

    def problem(self, path: Path, what: object) -> None:
        name = path.relative_to(self.root).as_posix()
        if sum(problem.startswith(f"{name}: ") for problem in self.problems) == PROBLEMS_OF_A_FILE:
            return
        text = visible(str(what)).replace(f"{path}: ", "").replace(str(path), name)
        self.problems.append(f"{name}: {text}")


#: Files whose change means that an open page is out of date; progress is asked for apart.
_RESULTS = (
    "plan.json",
    "parts/*.manifest.json",
    "dataset/report.json",
    "adapters/*/training.json",
    "adapters/*/loss_history.jsonl",
    "evaluation/summary.json",
    "evaluation/sweep.json",
    "evaluation/decision.json",
)


def fingerprint(run: RunFolder) -> str:
    """Changes when a result of the run appears or changes; a few `stat` calls."""
    digest = hashlib.sha256()
    for pattern in _RESULTS:
        for path in sorted(run.root.glob(pattern)):
            try:
                status = path.stat()
            except FileNotFoundError:  # taken away since it was listed
                continue
            digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()[:16]


def plain_facts(row: Mapping[str, Any], without: Container[str] = ()) -> dict[str, str]:
    """The plain values of a row as text; what is nested is no figure for a reader."""
    return {k: plain(v) for k, v in row.items() if k not in without and isinstance(v, str | int | float | bool)}


def plain(value: str | float) -> str:
    """A figure as a person reads it: grouped thousands, four digits."""
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
