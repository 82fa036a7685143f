"""Read and write JSON files; every write is atomic.

A write goes to a temporary file in the same folder and is renamed, so that a kill at any line leaves either the old
file or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from insurance_rag.core.errors import InvalidInputError


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "w", durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success flush, fsync and rename it over `path`, else remove it.

    Not `durable` leaves the fsync out, for what is worthless after a power cut and must not make anyone wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(fd, mode, encoding=None if "b" in mode else "utf-8") as f:
            yield f
            f.flush()
            if durable:
                os.fsync(f.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write one JSON document, atomically, Korean left readable."""
    with atomic_write(path, durable=durable) as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object a line, atomically; returns the number of rows."""
    n = 0
    with atomic_write(path) as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
            n += 1
    return n


def read_json(path: Path) -> Any:
    """Read one JSON document; InvalidInputError names the file, line and column of a fault."""
    try:
        return json.loads(path.read_bytes())
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror})") from e
    except UnicodeDecodeError as e:
        raise InvalidInputError(f"{path}: byte {e.start} is not UTF-8") from e
    except json.JSONDecodeError as e:
        raise InvalidInputError(f"{path}:{e.lineno}: not JSON ({e.msg}, column {e.colno})") from e
    except RecursionError as e:
        raise InvalidInputError(f"{path}: nested too deeply to be read") from e


def parse_jsonl(path: Path) -> tuple[list[tuple[int, Any]], list[str]]:
    """Every readable row of a JSON-lines file with its line number, and one message for every unreadable line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror})") from e
    rows, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append((number, json.loads(line)))
        except UnicodeDecodeError as e:
            problems.append(f"{path}:{number}: not UTF-8 (byte {e.start} of the line); save the file as UTF-8")
        except json.JSONDecodeError as e:
            problems.append(f"{path}:{number}: not JSON ({e.msg}, column {e.colno}); one object a line is wanted")
        except RecursionError:
            problems.append(f"{path}:{number}: nested too deeply to be read")
    return rows, problems


def read_jsonl(path: Path) -> list[Any]:
    """Read JSON lines; blank lines are skipped, every unreadable line is listed in one InvalidInputError."""
    rows, problems = parse_jsonl(path)
    if problems:
        raise InvalidInputError(problems)
    return [row for _, row in rows]
