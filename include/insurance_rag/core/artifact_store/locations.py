"""Maps the URIs of artifacts in object stores to local paths, and back.

The object `s3://bucket/key` has the local path `$ARTIFACT_SCRATCH/s3/bucket/key`. The mapping needs no request and no
state, so that a path from another process or machine means the same object. The files there are a copy that may be
lost at any time.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError

if TYPE_CHECKING:
    from pydantic import JsonValue

SCHEMES = ("s3", "gs")

_URI = re.compile(rf"(?:{'|'.join(SCHEMES)})://", re.IGNORECASE)
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True)
class Location:
    """An object, or the common beginning of the keys of several objects ("folder"), in an object store."""

    scheme: str
    bucket: str
    key: str
    """Key without a slash at the ends; empty for the whole bucket."""

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")


def scratch_folder() -> Path:
    """Return $ARTIFACT_SCRATCH as an absolute path; by default a folder of this user in the temporary folder."""
    return _resolved(os.environ.get("ARTIFACT_SCRATCH") or "")


@functools.lru_cache(maxsize=8)
def _resolved(scratch: str) -> Path:
    default = Path(tempfile.gettempdir()) / f"insurance-rag-scratch-{os.getuid()}"
    return Path(scratch or default).resolve()


def is_store_uri(text: str) -> bool:
    """Return whether `text` is the URI of an artifact in an object store."""
    return _URI.match(text) is not None


def local_path(uri: str | Path) -> Path:
    """Return the local path of an artifact: the path in the mirror for a URI, otherwise the path itself.

    Raises InvalidInputError if the URI has no valid bucket name, or a key that is not a plain relative path.
    """
    text = str(uri)
    if not is_store_uri(text):
        return Path(text)
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    parts = key.rstrip("/").split("/") if key.rstrip("/") else []
    if not _BUCKET_NAME.fullmatch(bucket):
        raise InvalidInputError(f"{scheme}://...: not a bucket name; write {scheme.lower()}://BUCKET/FOLDER")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidInputError(
            f"{text}: an empty part, `.` or `..` in the key; write {scheme.lower()}://BUCKET/FOLDER"
        )
    return scratch_folder().joinpath(scheme.lower(), bucket, *parts)


def location_of(path: Path) -> Location | None:
    """Return the object that a local path mirrors, or None for a path outside the mirror."""
    scratch = str(scratch_folder())
    absolute = str(path if path.is_absolute() else path.absolute())
    if not absolute.startswith(scratch + os.sep):
        return None
    scheme, _, rest = absolute[len(scratch) + 1 :].partition(os.sep)
    bucket, _, key = rest.partition(os.sep)
    return Location(scheme, bucket, key) if scheme in SCHEMES and bucket else None


def store_paths(value: JsonValue) -> list[Path]:
    """Return the local paths of all artifacts in object stores that a JSON value names, by URI or by local path."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        return [path for item in value for path in store_paths(item)]
    local = local_value(value)
    return [Path(local)] if isinstance(local, str) and local.startswith("/") and location_of(Path(local)) else []


def public_uri(path: Path) -> str:
    """Return the URI of a path in the mirror, and the absolute path of any other file or folder."""
    location = location_of(path.resolve())
    return location.uri if location else str(path.resolve())


def public_text(text: str) -> str:
    """Return `text` with every path in the mirror replaced by its URI, for messages and results."""
    scratch = str(scratch_folder())
    if scratch not in text:
        return text
    for scheme in SCHEMES:
        text = text.replace(f"{scratch}/{scheme}/", f"{scheme}://")
    return text


def public_value(value: JsonValue) -> JsonValue:
    """Return a JSON value with every path in the mirror replaced by its URI."""
    if isinstance(value, str):
        return public_text(value)
    if isinstance(value, list):
        return [public_value(item) for item in value]
    if isinstance(value, dict):
        return {key: public_value(item) for key, item in value.items()}
    return value


def local_value(value: JsonValue) -> JsonValue:
    """Return a JSON value with every string that is the URI of an artifact replaced by its path in the mirror.

    Other URIs, such as those with the name of an Airflow connection, remain.
    """
    if isinstance(value, str):
        try:
            return str(local_path(value)) if is_store_uri(value) else value
        except InvalidInputError:
            return value
    if isinstance(value, list):
        return [local_value(item) for item in value]
    if isinstance(value, dict):
        return {key: local_value(item) for key, item in value.items()}
    return value
