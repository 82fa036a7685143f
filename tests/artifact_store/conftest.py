"""A real S3 server, a proxy in front of it that can fail, and several machines without a shared disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.store import S3Store
from tests.artifact_store.faulty_proxy import FaultyProxy
from tools.local_servers import S3, running

from insurance_rag.core.artifact_store.locations import local_path


@dataclass
class Store:
    """A bucket of its own, and machines that share nothing but this bucket."""

    url: str
    bucket: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def path(self, key: str) -> Path:
        """Return the local path of an object on the present machine."""
        return local_path(self.uri(key))

    def listed(self, prefix: str = "") -> list[str]:
        """Return the keys in the bucket, as the server itself lists them."""
        return sorted(
            info["path"] for page in obstore.list(self._direct) for info in page if info["path"].startswith(prefix)
        )

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self._direct, key).bytes())

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self._direct, key, data)

    @property
    def _direct(self) -> S3Store:
        """The bucket, without the proxy."""
        return S3Store(self.bucket, endpoint=self.url, client_options={"allow_http": True})

    def environment(self, machine: str) -> dict[str, str]:
        """Return the environment of a process on a machine."""
        return {**os.environ, "ARTIFACT_SCRATCH": str(self.folder / machine)}

    @contextlib.contextmanager
    def on(self, machine: str) -> Iterator[None]:
        """Do what follows on another machine."""
        with self.monkeypatch.context() as m:
            m.setenv("ARTIFACT_SCRATCH", str(self.folder / machine))
            yield

    def start(self, machine: str, *argv: str, extra: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command of `insurance-rag` on a machine."""
        return subprocess.Popen(
            [sys.executable, "-m", "insurance_rag", *argv],
            env={**self.environment(machine), **(extra or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, machine: str, *argv: str, extra: Mapping[str, str] | None = None) -> str:
        """Run a command on a machine, which must succeed, and return its output."""
        process = self.start(machine, *argv, extra=extra)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(S3, tmp_path_factory.mktemp("s3") / "server") as server:
        yield server.url


@pytest.fixture
def proxy(s3_url: str) -> Iterator[FaultyProxy]:
    """A proxy in front of the server, which all requests of the tested code pass."""
    with FaultyProxy(s3_url) as running_proxy:
        yield running_proxy


@pytest.fixture
def store(s3_url: str, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    httpx.put(f"{s3_url}/{bucket}").raise_for_status()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anyone",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy.url,
        "ARTIFACT_SCRATCH": str(tmp_path / "machine-1"),
        "ARTIFACT_RETRY_S": "3",
    }.items():
        monkeypatch.setenv(name, value)
    return Store(s3_url, bucket, tmp_path, monkeypatch)
