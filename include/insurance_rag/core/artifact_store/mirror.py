"""Copies files between the mirror and the object store. Only objects and files that have changed are copied.

A fetch makes the local files equal to the objects. It finds objects by listing folders. A list may lag behind, so it
never proves that an object does not exist: files that are known here are asked for by key. A publication writes content
first and the files that others trust (manifests and other markers) last, and removes markers before anything else.

Files whose names begin with a dot, lock files and files that are kept in segments are left out.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.artifact_store.bucket import Bucket, ObjectInfo, bucket_of, in_parallel
from insurance_rag.core.artifact_store.index import Entry, entries_below, remove_entries, save_entries
from insurance_rag.core.artifact_store.leases import check_leases
from insurance_rag.core.artifact_store.locations import Location, location_of, scratch_folder
from insurance_rag.core.artifact_store.segments import SUFFIX, SegmentedFile, is_segmented
from insurance_rag.core.files import remove_file
from insurance_rag.core.hashing import sha256_file, sha256_tree

log = logging.getLogger(__name__)

MANIFEST_SUFFIX = ".manifest.json"
MARKERS = frozenset({
    "champion.json", "complete.json", "config.json", "decision.json", "plan.json", "qa_dataset.json", "questions.json",
    "report.json", "summary.json", "training.json",
})  # fmt: skip
"""Names of files whose existence says that others are complete. They are published last."""
CHECKPOINT = "checkpoint-"
COMPLETE_MARKER = "complete.json"
RETRY_DELAYS_S = (0.5, 1.0, 2.0, 4.0)
"""Delays between two looks at an artifact that does not fit its manifest, because it is being published."""


@dataclass(frozen=True)
class Part:
    """A file or folder of the mirror that a task or command uses."""

    path: Path
    only: tuple[str, ...] = ()
    """Patterns of paths, relative to `path`. If there are any, other paths do not belong to the part. `*` stands for
    a part of a name, and `**` at the end for everything in a folder."""
    without: tuple[str, ...] = ()
    """Patterns of paths, relative to `path`, that do not belong to the part."""
    shared: bool = False
    """Whether other processes of this machine may be changing the files. Newer local changes are then kept."""

    def covers(self, path: Path, *, folder: bool = False) -> bool:
        """Return whether a file below `path` belongs to the part. With `folder`, whether files in a folder may."""
        names = path.relative_to(self.path).parts
        if not names:
            return True
        if any(_matches(names, pattern) for pattern in self.without):
            return False
        return not self.only or any(_matches(names, pattern, folder=folder) for pattern in self.only)

    def local_files(self) -> Iterator[Path]:
        """Yield the local files of the part that are copied as they are."""
        if self.path.is_file() and _is_plain(self.path):
            yield self.path
        for folder, folders, names in os.walk(self.path):
            folders[:] = [name for name in folders if self.enters(Path(folder, name))]
            for name in names:
                if _is_plain(found := Path(folder, name)) and self.covers(found):
                    yield found

    def enters(self, folder: Path) -> bool:
        """Return whether a folder may have files of the part."""
        return not is_private(folder) and folder.suffix != SUFFIX and self.covers(folder, folder=True)

    def entries(self) -> dict[Path, Entry]:
        """Return what the index says about the files of the part."""
        return {path: entry for path, entry in entries_below(self.path).items() if self.covers(path)}


def _matches(names: Sequence[str], pattern: str, *, folder: bool = False) -> bool:
    """Return whether a path matches a pattern, or with `folder` whether the path of a file in it may."""
    wanted = pattern.split("/")
    if wanted[-1] == "**":
        wanted.pop()
        names = names[: len(wanted)] if len(names) > len(wanted) or folder else ()
    if len(names) > len(wanted) or (len(names) < len(wanted) and not folder):
        return False
    return all(fnmatch.fnmatchcase(name, part) for name, part in zip(names, wanted, strict=False))


def fetch(part: Part, *, alone: bool = False) -> None:
    """Make the local files of a part equal to the objects in the store.

    With `alone`, no other process of this machine works on them. What a killed process left behind without publishing
    it is then removed. Otherwise, files that were changed here are kept, unless the object is newer.

    Raises InvalidInputError if the bucket does not exist or may not be read, and IncompleteError if the store does not
    answer.
    """
    location = _location(part.path)
    for delay_s in (*RETRY_DELAYS_S, None):
        with _only_fetch():
            fetched = _fetch_once(part, location, alone=alone)
            doubtful = [path for path in _manifests(part) if _is_touched(path, fetched) and not _fits(path)]
            if not doubtful:
                return
            for manifest in doubtful:
                _forget(manifest)
        if delay_s is not None:
            time.sleep(delay_s)
    for manifest in doubtful:
        log.warning("%s does not fit its file or folder, so it is not trusted", _uri(manifest))
        remove_file(manifest)


@contextlib.contextmanager
def _only_fetch() -> Iterator[None]:
    """Let one process of this machine fetch at a time.

    Otherwise, a process could check a folder while another one still copies files into it, and would discard what the
    other process is about to read.
    """
    folder = scratch_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".fetch.lock").open("a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _fetch_once(part: Part, location: Location, *, alone: bool) -> set[Path]:
    """Fetch what has changed, and return the files that were written or removed."""
    bucket, known = bucket_of(location), part.entries()
    found = _objects(bucket, location, part)
    unlisted = [path for path in {*known, *(part.local_files() if alone else ())} if path not in found]
    for path, info in zip(unlisted, in_parallel(lambda path: bucket.head(_key(path)), unlisted), strict=True):
        if info is not None:
            found[path] = info
    wanted = [path for path, info in found.items() if _is_outdated(path, known.get(path), info, alone=alone)]
    wanted.sort(key=_is_marker)
    results = in_parallel(lambda path: _download(bucket, path), wanted)
    save_entries((path, entry) for path, entry in zip(wanted, results, strict=True) if entry)
    gone = [path for path in unlisted if path not in found and (alone or _is_copy(path, known))]
    for path in gone:
        remove_file(path)
    remove_entries(gone)
    return {*wanted, *gone}


def _objects(bucket: Bucket, location: Location, part: Part) -> dict[Path, ObjectInfo]:
    """List the objects of a part. Files that are kept in segments are brought up to date on the way."""
    found: dict[Path, ObjectInfo] = {}
    if location.key and (info := bucket.head(location.key)):
        found[part.path] = info
    base, folders = part.path, [location.key]
    while folders:
        inner: list[str] = []
        for listing in in_parallel(bucket.list_folder, folders):
            inner += listing.folders
            for info in listing.objects:
                path = base / info.key[len(location.key) :].lstrip("/")
                if not is_private(path) and part.covers(path):
                    found[path] = info
        paths = {key: base / key[len(location.key) :].lstrip("/") for key in inner}
        files = [path.with_name(path.name.removesuffix(SUFFIX)) for path in paths.values() if path.suffix == SUFFIX]
        in_parallel(_pull, [path for path in files if part.covers(path)])
        folders = [key for key, path in paths.items() if part.enters(path)]
    return found


def _pull(path: Path) -> None:
    file = SegmentedFile.at(path)
    assert file is not None
    file.pull()


def _is_outdated(path: Path, entry: Entry | None, info: ObjectInfo, *, alone: bool) -> bool:
    if entry and entry.describes(path):
        return entry.etag != info.etag
    if alone or not path.exists():
        return True
    return (entry is None or entry.etag != info.etag) and info.modified.timestamp() > path.stat().st_mtime


def _is_copy(path: Path, known: dict[Path, Entry]) -> bool:
    """Return whether a local file is an unchanged copy of an object."""
    return path in known and known[path].describes(path)


def _download(bucket: Bucket, path: Path) -> Entry | None:
    info = bucket.download(_key(path), path)
    if info is None:
        return None
    # The identity of a model depends on the time of its files, which must be the same on all machines.
    os.utime(path, (info.modified.timestamp(), info.modified.timestamp()))
    return Entry.of(path, info.etag)


def _manifests(part: Part) -> Iterator[Path]:
    for path in part.local_files():
        if path.name.endswith(MANIFEST_SUFFIX):
            yield path


def _is_touched(manifest: Path, changed: Collection[Path]) -> bool:
    """Return whether the manifest or its file or folder is among the changed files."""
    target = _target(manifest)
    return any(path in (manifest, target) or path.is_relative_to(target) for path in changed)


def _fits(manifest: Path) -> bool:
    """Return whether the file or folder of a manifest has the hash in it. A manifest without a hash fits."""
    target = _target(manifest)
    try:
        content = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return True  # whoever reads it reports the damage
    expected = content.get("sha256") if isinstance(content, dict) else None
    if expected is None:
        return True
    if not target.exists():
        return False
    return bool((sha256_tree(target) if target.is_dir() else sha256_file(target)) == expected)


def _forget(manifest: Path) -> None:
    """Make the next fetch copy the manifest and its file or folder again."""
    target = _target(manifest)
    remove_entries([manifest, *entries_below(target)])
    for path in [manifest, *Part(target).local_files()]:
        remove_file(path)


def _target(manifest: Path) -> Path:
    return manifest.with_name(manifest.name.removesuffix(MANIFEST_SUFFIX))


def publish(parts: Sequence[Part], before: Collection[Path] = ()) -> None:
    """Copy the changed files of some parts into the store, and remove the objects of removed files.

    `before` has the files that existed earlier. An object is removed only if its file is among them and gone now, so
    that the loss of the scratch folder removes nothing. Raises IncompleteError if this process lost a lease, or if the
    store does not answer.
    """
    files = {path for path in local_files(parts) if _is_complete(path)}
    known = {path: entry for part in parts for path, entry in part.entries().items()}
    changed = [path for path in sorted(files) if path not in known or not known[path].describes(path)]
    removed = [path for path in before if path not in files and not path.exists()]
    check_leases()
    _delete(path for path in removed if _is_marker(path))
    _upload(path for path in changed if not _is_marker(path))
    _delete(path for path in removed if not _is_marker(path))
    check_leases()
    _upload(path for path in changed if _is_marker(path))


def local_files(parts: Iterable[Part]) -> set[Path]:
    """Return the local files of some parts."""
    return {path for part in parts for path in part.local_files()}


def _upload(paths: Iterable[Path]) -> None:
    save_entries(entry for entry in in_parallel(_upload_one, paths) if entry)


def _upload_one(path: Path) -> tuple[Path, Entry] | None:
    location = _location(path)
    bucket = bucket_of(location)
    try:
        entry = Entry.of(path, "")  # before reading: a later change must not count as published
        etag = bucket.upload(location.key, path)
    except FileNotFoundError:
        return None  # removed meanwhile
    if path.suffix == ".safetensors" and (info := bucket.head(location.key)):
        os.utime(path, (info.modified.timestamp(), info.modified.timestamp()))
        entry = Entry.of(path, "")
    return path, Entry(etag, entry.size, entry.mtime_ns)


def _delete(paths: Iterable[Path]) -> None:
    listed = [*paths]
    in_parallel(lambda path: bucket_of(_location(path)).delete(_key(path)), listed)
    remove_entries(listed)


def _is_plain(path: Path) -> bool:
    """Return whether a local file is copied as it is."""
    return not is_private(path) and not is_segmented(path) and not path.is_symlink()


def is_private(path: Path) -> bool:
    """Return whether a file or folder belongs to this machine, or is a lease."""
    return path.name.startswith(".") or path.suffix == ".lock"


def _is_marker(path: Path) -> bool:
    return path.name in MARKERS or path.name.endswith(MANIFEST_SUFFIX)


def _is_complete(path: Path) -> bool:
    """Return whether a file may be published: a checkpoint only as a whole."""
    checkpoint = next((folder for folder in path.parents if folder.name.startswith(CHECKPOINT)), None)
    return checkpoint is None or (checkpoint / COMPLETE_MARKER).is_file()


def _location(path: Path) -> Location:
    location = location_of(path)
    assert location is not None, f"{path} is not in the mirror"
    return location


def _key(path: Path) -> str:
    return _location(path).key


def _uri(path: Path) -> str:
    return _location(path).uri
