"""An Airflow on Postgres, Redis and Celery for all tests of this folder, started once per session.

Run by `make test-distributed`, which installs the servers first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.distributed.cluster import ARTIFACT_ROOT, Cluster
from tools.local_servers import S3, Postgres, Redis, missing_programs, running

from insurance_rag.core.artifact_store.bucket import bucket_of
from insurance_rag.core.artifact_store.locations import local_path, location_of
from insurance_rag.core.artifact_store.mirror import Part, fetch


@dataclass(frozen=True)
class Store:
    """The artifacts of the distributed Airflow."""

    root: Path

    def fetch(self, path: Path) -> Path:
        """Copy a file or folder of the bucket to its local path, and return this path."""
        fetch(Part(path), alone=True)
        return path

    def names(self, path: Path) -> list[str]:
        """Return the names of all objects below a folder, relative to it."""
        location = location_of(path)
        assert location is not None
        keys = [info.key for info in bucket_of(location).list_all(location.key)]
        return [key.removeprefix(f"{location.key}/") for key in keys]


@pytest.fixture(scope="session", autouse=True)
def environment() -> None:
    """Skip all tests of this folder if Postgres or Redis cannot be installed, and set what all processes inherit."""
    if missing := missing_programs():
        pytest.skip(f"not installed and not installable here: Debian packages {', '.join(missing)}")
    os.environ.pop("AIRFLOW__CORE__UNIT_TEST_MODE", None)  # set by tests that import Airflow in this process
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # killed processes could not save their coverage data
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without compiled files, every process takes 20 s to start


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The distributed Airflow."""
    root = tmp_path_factory.mktemp("cluster")
    for folder in (root, root.parent, root.parent.parent):
        folder.chmod(0o755)  # the servers run as another user
    with (
        running(Postgres, root / "postgres") as postgres,
        running(Redis, root / "redis") as redis,
        running(S3, root / "s3") as s3,
    ):
        cluster = Cluster(root, postgres, redis, s3)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def store(cluster: Cluster) -> Iterator[Store]:
    """The bucket as this process sees it, which has its own scratch folder like any other machine."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**cluster.bucket_settings, "ARTIFACT_SCRATCH": str(cluster.scratch("reader"))}.items():
            environment.setenv(name, value)
        yield Store(local_path(ARTIFACT_ROOT))
