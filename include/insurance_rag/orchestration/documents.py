"""Finds the documents of a run, in local folders or in a bucket, and tells whether they have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write, read_json, write_json
from insurance_rag.orchestration.runs import artifact_root


@dataclass(frozen=True)
class DocumentFile:
    """One file, as a listing of its folder shows it."""

    name: str
    """Location of the folder and the path in it."""
    size: int
    modified: float


def list_documents(locations: Iterable[str]) -> list[DocumentFile]:
    """Return the files at the locations, sorted by name. A location that does not exist has no files.

    Raises InvalidInputError if a bucket cannot be read.
    """
    return sorted((file for location in locations for file in _files(location)), key=lambda file: file.name)


def content_hash(files: Sequence[DocumentFile]) -> str:
    """Return a hash of the names and the contents of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{hashlib.sha256(_open(file.name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def local_documents(locations: Iterable[str], folder: Path) -> list[Path]:
    """Return the locations as local paths. The files of a bucket are copied to `folder` first."""
    local: list[Path] = []
    for number, location in enumerate(locations, 1):
        if "://" not in location:
            local.append(Path(location).expanduser())
            continue
        target = folder / str(number)
        for file in list_documents([location]):
            relative = file.name.removeprefix(location).strip("/") or file.name.rsplit("/", 1)[1]
            if ".." in Path(relative).parts:
                raise InvalidInputError(f"documents: {file.name}: a path may not contain `..`; rename the file")
            with atomic_write(target / relative, "wb") as f:
                f.write(_open(file.name).read_bytes())
        local.append(target)
    return local


def missing_documents(locations: Iterable[str]) -> list[str]:
    """Return a problem for each location without a file."""
    return [
        f"documents: {location}: there is no file; give the path of a document or of a folder with documents"
        for location in locations
        if not list_documents([location])
    ]


def location_uri(location: str) -> str:
    """Return the URI of a location, without the Airflow connection of a bucket."""
    if "://" not in location:
        return f"file://{Path(location).expanduser().resolve()}"
    scheme, _, rest = location.partition("://")
    bucket, slash, path = rest.partition("/")
    return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{path}"


def remember_documents(sha256: str) -> bool:
    """Record that a refresh starts from these documents. Return False if the last one started from them, too.

    Only the triggerer calls this. Raises IncompleteError if the record is in an object store that does not answer.
    """
    path = artifact_root() / "published" / "documents.json"
    in_store = location_of(path) is not None
    if in_store:
        from insurance_rag.core.artifact_store.mirror import Part, fetch, publish

        fetch(Part(path), alone=True)
    if path.is_file() and read_json(path)["sha256"] == sha256:
        return False
    write_json(path, {"sha256": sha256})
    if in_store:
        publish([Part(path)])
    return True


def _files(location: str) -> Iterator[DocumentFile]:
    """Yield the files at a location. Hidden files, such as those of editors and of Office, are left out."""
    try:
        root = _open(location)
        found = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
        for path in found:
            if not path.name.startswith((".", "~$")):
                facts = path.stat()
                yield DocumentFile(str(path), int(facts.st_size), float(facts.st_mtime or 0))
    except (OSError, ImportError, ValueError) as e:
        raise InvalidInputError(
            f"documents: {location} cannot be read ({type(e).__name__}); check the path, the provider package and the "
            "connection"
        ) from None


def _open(location: str) -> Path:
    """Return a path of a local file or folder, or of one in a bucket, e.g. `s3://aws_default@bucket/policies`."""
    if "://" not in location:
        return Path(location).expanduser()
    from airflow.sdk import ObjectStoragePath

    path: Path = ObjectStoragePath(location)
    return path
