"""Read and write JSON files. Every write is atomic.

New content goes to a temporary file in the same folder, which is then renamed. If the process is killed, either the
complete old file or the complete new one remains.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from insurance_rag.core.errors import IncompleteError, InvalidInputError, LineProblem

WRITE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE})
"""Errors with which a disk refuses to write: full, over quota, file too large, read-only, defective, unreachable."""


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "w", durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file next to `path`. Rename it to `path` on success, or remove it after an error.

    `durable=False` skips the fsync. Use this for files that must be written fast and are not needed after a power
    failure. Raises IncompleteError if the disk refuses to write (see WRITE_ERRNOS) or the folder is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as e:
        raise write_error(path, e) from e
    try:
        with os.fdopen(fd, mode, encoding=None if "b" in mode else "utf-8") as f:
            yield f
            f.flush()
            if durable:
                os.fsync(f.fileno())
        _publish(name, path)
    except BaseException as e:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(e, OSError) and e.errno in WRITE_ERRNOS:
            raise write_error(path, e) from e
        raise


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`. Rename it to `path` on success, or remove it after an error.

    A folder that is to be replaced must be removed at the end of the `with` block. Raises OSError if one remains.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield staging
        staging.chmod(0o755)
        staging.rename(path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _publish(temporary: str, path: Path) -> None:
    try:
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as e:
        raise write_error(path, e) from e


def remove_file(path: Path) -> None:
    """Remove a file if it exists. Raises IncompleteError if the folder is not writable."""
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise write_error(path, e) from e


def write_error(path: Path, error: OSError) -> IncompleteError:
    """Return the error for a file that cannot be written. Its message says why and what to do."""
    return IncompleteError(
        f"{path}: cannot be written ({error.strerror}); free space or fix the permissions, then run the same command "
        "again"
    )


def read_error(path: Path, error: OSError) -> IncompleteError:
    """Return the error for a file of a run that exists but cannot be read. Its message says why and what to do."""
    return IncompleteError(
        f"{path}: cannot be read ({error.strerror}); fix the permissions, then run the same command again"
    )


def write_json(path: Path, value: object, durable: bool = True) -> None:
    """Write one JSON document atomically. Korean text is not escaped."""
    with atomic_write(path, durable=durable) as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def write_jsonl(path: Path, rows: Iterable[object]) -> int:
    """Write one JSON value per line atomically, and return the number of rows."""
    n = 0
    with atomic_write(path) as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
            n += 1
    return n


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises an InvalidInputError that names the file and, for a syntax error, the line and column.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check the path and its permissions") from e
    except UnicodeDecodeError as e:
        raise InvalidInputError(f"{path}: byte {e.start} is not UTF-8; save the file as UTF-8") from e
    except json.JSONDecodeError as e:
        raise InvalidInputError(f"{path}:{e.lineno}: invalid JSON ({e.msg}, column {e.colno}); fix this line") from e
    except ValueError as e:  # an integer with thousands of digits
        raise InvalidInputError(f"{path}: a number has too many digits; shorten it") from e
    except RecursionError as e:
        raise InvalidInputError(f"{path}: nested too deeply; write it with fewer levels") from e


def parse_jsonl(path: Path) -> tuple[list[tuple[int, Any]], list[LineProblem]]:
    """Read a JSON Lines file. Return its readable rows and the problems in the other lines.

    Each row is a tuple (line number, parsed JSON value). Line numbers start at 1, and blank lines are skipped.
    Raises InvalidInputError if the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check the path and its permissions") from e
    rows, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append((number, json.loads(line)))
        except UnicodeDecodeError:
            problems.append(LineProblem(path, number, "not UTF-8; save the file as UTF-8"))
        except json.JSONDecodeError as e:
            problems.append(LineProblem(path, number, f"invalid JSON ({e.msg}); write one JSON object per line"))
        except ValueError:
            problems.append(LineProblem(path, number, "a number has too many digits; shorten it"))
        except RecursionError:
            problems.append(LineProblem(path, number, "nested too deeply; write it with fewer levels"))
    return rows, problems


def read_jsonl(path: Path) -> list[Any]:
    """Read all rows of a JSON Lines file. Raises an InvalidInputError that lists every unreadable line."""
    rows, problems = parse_jsonl(path)
    if problems:
        raise InvalidInputError(problems)
    return [row for _, row in rows]
