"""Reads and writes the objects of a bucket. The only module that knows the client library.

Requests that fail temporarily (5xx, lost connections, time limits) are repeated with growing delays for
$ARTIFACT_RETRY_S seconds (60 by default), and then raise IncompleteError. A missing bucket, missing rights and missing
credentials raise InvalidInputError. Messages name the bucket and the right, and never contain the server's answer, a
signature or a credential.

Credentials are found as the AWS and Google tools find them: environment variables, web identity, the metadata service
of the machine, and the files in ~/.aws if boto3 is installed. AWS_ENDPOINT_URL selects another S3 server.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from insurance_rag.core.artifact_store.locations import Location
from insurance_rag.core.errors import IncompleteError, InvalidInputError, PipelineError
from insurance_rag.core.files import atomic_write

PARALLEL_REQUESTS = 16
CONNECT_TIMEOUT_S = 5
REQUEST_TIMEOUT_S = 60
_RIGHTS = {"read": "s3:GetObject", "write": "s3:PutObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject"}
_GOOGLE_RIGHTS = {
    "read": "storage.objects.get",
    "write": "storage.objects.create",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
}
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


@dataclass(frozen=True)
class ObjectInfo:
    """What a server says about an object."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class StoredObject:
    """The content of an object, and what the server says about it."""

    data: bytes
    info: ObjectInfo


@dataclass(frozen=True)
class Listing:
    """The direct content of a folder."""

    folders: list[str]
    """Keys of the folders in it, without a slash at the end."""
    objects: list[ObjectInfo]


T = TypeVar("T")
R = TypeVar("R")


class Bucket:
    """One bucket of an object store."""

    def __init__(self, scheme: str, name: str) -> None:
        self.scheme, self.name = scheme, name
        self._store = _open_store(scheme, name)

    def uri(self, key: str) -> str:
        return Location(self.scheme, self.name, key).uri

    def get(self, key: str) -> StoredObject | None:
        """Return an object, or None if there is none."""
        import obstore

        with self._explained("read", key):
            try:
                found = obstore.get(self._store, key)
                return StoredObject(bytes(found.bytes()), _info(found.meta))
            except FileNotFoundError as e:
                self._check_bucket(e)
                return None

    def head(self, key: str) -> ObjectInfo | None:
        """Return what the server says about an object, or None if there is none."""
        import obstore

        with self._explained("read", key):
            try:
                return _info(obstore.head(self._store, key))
            except FileNotFoundError as e:
                self._check_bucket(e)
                return None

    def download(self, key: str, path: Path) -> ObjectInfo | None:
        """Write an object to a file, which appears when it is complete. Return None if there is no such object."""
        import obstore

        with self._explained("read", key):
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError as e:
                self._check_bucket(e)
                return None
            with atomic_write(path, "wb", durable=False) as f:
                for block in found.stream(min_chunk_size=4 * 1024 * 1024):
                    f.write(block)
            return _info(found.meta)

    def put(self, key: str, data: bytes) -> str:
        """Write an object, and return its ETag."""
        import obstore

        with self._explained("write", key):
            return str(obstore.put(self._store, key, data, use_multipart=False)["e_tag"])

    def upload(self, key: str, path: Path) -> str:
        """Write a file to an object, in several parts if it is large, and return the ETag."""
        import obstore

        with self._explained("write", key):
            return str(obstore.put(self._store, key, path)["e_tag"])

    def create(self, key: str, data: bytes) -> str | None:
        """Write an object that does not exist yet, and return its ETag. Return None if another one has this key.

        An object with the same content counts as written by this call, because the answer to an earlier attempt may
        have been lost.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._explained("write", key):
            try:
                return str(obstore.put(self._store, key, data, mode="create", use_multipart=False)["e_tag"])
            except (AlreadyExistsError, PreconditionError):
                return self._etag_if_own(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """Replace the object with this ETag, and return the new ETag. Return None if the object has changed."""
        import obstore
        from obstore.exceptions import NotFoundError, PreconditionError

        with self._explained("write", key):
            try:
                return str(obstore.put(self._store, key, data, mode={"e_tag": etag}, use_multipart=False)["e_tag"])
            except (PreconditionError, NotFoundError, FileNotFoundError):
                return self._etag_if_own(key, data)

    def list_folder(self, key: str) -> Listing:
        """Return the direct content of a folder, as far as the server's list shows it."""
        import obstore

        with self._explained("list", key):
            found = obstore.list_with_delimiter(self._store, key or None)
            return Listing([str(name) for name in found["common_prefixes"]], [_info(meta) for meta in found["objects"]])

    def list_all(self, key: str, after: str | None = None) -> list[ObjectInfo]:
        """Return all objects in a folder and its folders, sorted by key. With `after`, only those behind this key."""
        import obstore

        with self._explained("list", key):
            pages = obstore.list(self._store, key or None, offset=after)
            return sorted((_info(meta) for page in pages for meta in page), key=lambda info: info.key)

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        import obstore

        with self._explained("delete", key), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def _etag_if_own(self, key: str, data: bytes) -> str | None:
        """Return the ETag of the object if it has this content, because an earlier attempt wrote it; otherwise None."""
        found = self.get(key)
        return found.info.etag if found and found.data == data else None

    @contextlib.contextmanager
    def _explained(self, right: str, key: str) -> Iterator[None]:
        """Translate the library's errors. `right` is what the request needs."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as e:
            if isinstance(e, OSError) and e.errno is not None:
                raise  # an error of the local disk
            raise self._error(e, right, key) from None

    def _check_bucket(self, error: Exception) -> None:
        """Raise InvalidInputError if an object is missing because the whole bucket is."""
        if "NoSuchBucket" in str(error):
            raise self._error(error, "read", "") from None

    def _error(self, error: Exception, right: str, key: str) -> PipelineError:
        text = str(error)
        status, code = _first(_STATUS, text), _first(_CODE, text)
        rights = _GOOGLE_RIGHTS if self.scheme == "gs" else _RIGHTS
        bucket, where = f"{self.scheme}://{self.name}", self.uri(key)
        if code == "NoSuchBucket" or (status == "404" and right in ("write", "list")):
            return InvalidInputError(f"{bucket}: no such bucket; create it, or correct the URI")
        if status in ("401", "403") or code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            detail = f" ({code})" if code else ""
            return InvalidInputError(
                f"{where}: access denied{detail}; the credentials of this process need the right {rights[right]} on "
                f"{bucket}; grant it, or set other credentials"
            )
        if status is None and re.search("credential|metadata|AccessKey", text, re.IGNORECASE):
            return _no_credentials(where)
        reason = f"the server answered {status}" if status else "no connection, or no answer in time"
        return IncompleteError(
            f"{where}: cannot {right} ({reason}, after several attempts); check the server and the network, then run "
            "the same command again"
        )


def _no_credentials(where: str) -> InvalidInputError:
    return InvalidInputError(
        f"{where}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "GOOGLE_APPLICATION_CREDENTIALS for gs://, or run where the machine or pod has a role"
    )


def bucket_of(location: Location) -> Bucket:
    """Return the bucket of a location. Each process opens a bucket once."""
    return _open_bucket(location.scheme, location.bucket, _endpoint(), os.getpid())


@functools.lru_cache(maxsize=16)
def _open_bucket(scheme: str, name: str, endpoint: str, pid: int) -> Bucket:
    return Bucket(scheme, name)


def _endpoint() -> str:
    """Return the address of another S3 server than Amazon's; empty if none is set."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return the results of `function` for all items, in their order, with several requests at a time."""
    listed: Sequence[T] = [*items]
    if len(listed) < 2:
        return [function(item) for item in listed]
    with ThreadPoolExecutor(min(PARALLEL_REQUESTS, len(listed))) as pool:
        return [*pool.map(function, listed)]


def retry_seconds() -> float:
    """Return for how many seconds a failing request is repeated: $ARTIFACT_RETRY_S, by default 60."""
    return seconds_of("ARTIFACT_RETRY_S", os.environ.get("ARTIFACT_RETRY_S"), 0, 86400)


def seconds_of(name: str, text: str | None, lowest: int, highest: int) -> float:
    """Return the seconds that the environment variable `name` sets to `text`, by default 60.

    Raises InvalidInputError if it is not a number in this range.
    """
    try:
        seconds = float(text or 60)
    except ValueError:
        seconds = math.nan
    if not lowest <= seconds <= highest:
        raise InvalidInputError(f"{name}: {text!r} is not a number of seconds from {lowest} to {highest}; e.g. 60")
    return seconds


def _open_store(scheme: str, name: str) -> Any:
    """Open a bucket with the library. Makes no request. Raises InvalidInputError if a setting is invalid."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import GCSStore, S3Store
    except ImportError:
        raise InvalidInputError(
            f"{scheme}://{name}: object stores need the package obstore; install it with `pip install obstore`"
        ) from None

    backoff = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2}
    retry: Any = {"max_retries": 30, "retry_timeout": timedelta(seconds=retry_seconds()), "backoff": backoff}
    times = {"timeout": timedelta(seconds=REQUEST_TIMEOUT_S), "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S)}
    options: Any = {**times, "allow_http": True}
    settings: dict[str, Any] = {"endpoint": endpoint} if (endpoint := _endpoint()) else {}
    try:
        if scheme == "gs":
            return GCSStore(name, client_options=options, retry_config=retry)
        if (provider := _shared_credentials()) is not None:
            settings["credential_provider"] = provider
        return S3Store(name, client_options=options, retry_config=retry, **settings)
    except BaseError:
        raise _no_credentials(f"{scheme}://{name}") from None


def _shared_credentials() -> Any:
    """Return a provider for the profiles in ~/.aws, which the library does not read; None if it is not needed."""
    folder = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials")
    if os.environ.get("AWS_ACCESS_KEY_ID") or not (os.environ.get("AWS_PROFILE") or folder.is_file()):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return None
    return Boto3CredentialProvider()


def _info(meta: Any) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], str(meta["e_tag"]), meta["last_modified"])


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found.group(1) if found else None
