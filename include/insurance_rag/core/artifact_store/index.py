"""Remembers which version of each object the files of the mirror hold.

A file that still has the size and time of its entry is a copy of the object with the ETag of the entry. The index is a
SQLite database in the scratch folder, which all processes of the machine share. If it is lost, files are copied again.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.artifact_store.locations import scratch_folder

_WAIT_S = 60
_SCHEMA = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, etag TEXT, size INTEGER, mtime_ns INTEGER)"


@dataclass(frozen=True)
class Entry:
    """The version of an object that a file of the mirror holds."""

    etag: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, etag: str) -> Entry:
        """Return the entry for a file as it is now."""
        stat = path.stat()
        return cls(etag, stat.st_size, stat.st_mtime_ns)

    def describes(self, path: Path) -> bool:
        """Return whether the file has not changed since the entry was made."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


def entries_below(folder: Path) -> dict[Path, Entry]:
    """Return the entries of the file `folder`, or of all files in the folder."""
    name = str(folder)
    with _open() as db:
        rows = db.execute(
            "SELECT path, etag, size, mtime_ns FROM files WHERE path = ? OR (path >= ? AND path < ?)",
            (name, f"{name}/", f"{name}0"),  # "0" follows "/"
        )
        return {Path(path): Entry(*facts) for path, *facts in rows}


def save_entries(entries: Iterable[tuple[Path, Entry]]) -> None:
    """Store entries, which replace earlier ones of the same files."""
    rows = [(str(path), entry.etag, entry.size, entry.mtime_ns) for path, entry in entries]
    if rows:
        with _open() as db:
            db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)


def remove_entries(paths: Iterable[Path]) -> None:
    """Remove the entries of files."""
    rows = [(str(path),) for path in paths]
    if rows:
        with _open() as db:
            db.executemany("DELETE FROM files WHERE path = ?", rows)


@contextlib.contextmanager
def _open() -> Iterator[sqlite3.Connection]:
    folder = scratch_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.closing(sqlite3.connect(folder / "index.sqlite", timeout=_WAIT_S)) as db, db:
        db.execute(_SCHEMA)
        yield db
