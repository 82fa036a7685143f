"""Brings the artifacts of a task or command into the mirror, and publishes what it changes there.

    with Workspace([Part(run.root)]):
        ...

Without a path in an object store, a workspace does nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from insurance_rag.core.artifact_store.locations import local_path, location_of, scratch_folder
from insurance_rag.core.errors import PipelineError

if TYPE_CHECKING:
    from types import TracebackType

    from insurance_rag.core.artifact_store.mirror import Part

log = logging.getLogger(__name__)

PUBLISH_INTERVAL_S = 5.0
"""Time between two publications of what changes while a task or command runs."""
LIVE = ("progress", "checkpoints")
"""Names of folders whose files are published while a task or command runs."""
LIVE_FILES = ("usage.json", "loss_history.jsonl")


class Workspace:
    """The files and folders of a task or command. They are fetched at the beginning and published at the end.

    Files that show progress, and complete checkpoints, are published every few seconds, too. After an error, everything
    is published as well, because the next try resumes from it; an error of this publication is then only logged.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = [part for part in parts if location_of(part.path)]
        self._note: _Note | None = None
        self._before: set[Path] = set()
        self._ended = threading.Event()
        self._publisher = threading.Thread(target=self._publish_live, name="artifact publisher", daemon=True)

    def __enter__(self) -> Workspace:
        if not self._parts:
            return self
        from insurance_rag.core.artifact_store.mirror import fetch, local_files

        own = [part.path / part.only[0] if part.only else part.path for part in self._parts if not part.shared]
        self._note, alone = _register(own)
        try:
            for part in self._parts:
                fetch(part, alone=alone and not part.shared)
        except BaseException:
            self._note.remove()
            raise
        self._before = local_files(self._parts)
        self._publisher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._parts:
            return
        from insurance_rag.core.artifact_store.mirror import publish

        self._ended.set()
        self._publisher.join()
        try:
            publish(self._parts, self._before)
        except PipelineError as e:
            if error is None or (isinstance(error, SystemExit) and not error.code):
                raise
            log.warning("not everything could be published: %s", e)
        finally:
            if self._note:
                self._note.remove()

    def _publish_live(self) -> None:
        from insurance_rag.core.artifact_store.mirror import Part, local_files, publish

        while not self._ended.wait(PUBLISH_INTERVAL_S):
            live = [Part(path) for part in self._parts for path in _live_paths(part)]
            try:
                before = {path for path in self._before if any(path.is_relative_to(part.path) for part in live)}
                self._before |= local_files(live)
                publish(live, before)
            except PipelineError as e:
                log.warning("the progress could not be published: %s", e)


def _live_paths(part: Part) -> Iterator[Path]:
    for folder, folders, names in os.walk(part.path):
        live = [*(name for name in folders if name in LIVE), *(name for name in names if name in LIVE_FILES)]
        yield from (found for name in live if part.covers(found := Path(folder, name)))
        inner = [name for name in folders if name not in LIVE and not name.startswith(".")]
        folders[:] = [name for name in inner if part.covers(Path(folder, name))]


def parts_with_siblings(path: Path) -> list[Part]:
    """Return the parts for a file or folder and what belongs to it in the same folder, such as its manifest."""
    from insurance_rag.core.artifact_store.mirror import Part

    location = location_of(path)
    if location is None or not location.key:
        return [Part(path)]
    return [Part(path.parent, only=(path.name, f"{path.name}/**", f"{path.stem}.*"))]


def fetched(uri: str) -> Path:
    """Return the local path of an artifact, with the content that it has in the store now."""
    path = local_path(uri)
    if location_of(path):
        from insurance_rag.core.artifact_store.mirror import Part, fetch

        fetch(Part(path))
    return path


@dataclass(frozen=True)
class _Note:
    """A file that names the paths that a process works on. The process holds a lock on it while it lives."""

    path: Path
    file: IO[str]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.file.close()


def _register(paths: Sequence[Path]) -> tuple[_Note, bool]:
    """Note that this process works on `paths`. Return the note, and whether no other process works on them."""
    folder = scratch_folder() / ".sessions"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    note = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
    hidden = folder / f".{note.name}"
    own = hidden.open("w", encoding="utf-8")
    fcntl.flock(own, fcntl.LOCK_EX)
    json.dump([str(path) for path in paths], own)
    own.flush()
    hidden.rename(note)  # visible only while it is locked, so that no other process takes it for that of a dead process
    others = [path for other in folder.iterdir() if other != note for path in _paths_of(other)]
    alone = not any(a.is_relative_to(b) or b.is_relative_to(a) for a in paths for b in others)
    return _Note(note, own), alone


def _paths_of(note: Path) -> list[Path]:
    """Return the paths that a living process works on. The note of a dead process is removed."""
    if note.name.startswith("."):
        return []
    with contextlib.suppress(FileNotFoundError), note.open("r", encoding="utf-8") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return [Path(path) for path in json.load(f)]
        note.unlink(missing_ok=True)
    return []
