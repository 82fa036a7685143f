"""A real api-server with the plugins, five users, and one DAG with a failed run that has a complete run folder.

The tests of the review pages have a second run, with 1,000 rows.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import httpx
import pytest
from tests.plugins.review_set import write_review_run
from tests.report.sample_run import write_run

from demo.airflow_stack import AirflowStack
from insurance_rag.core.files import write_json
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.runs import folder_under
from insurance_rag.review.records import ReviewKind
from insurance_rag.review.store import ReviewStore

DAG = "finetune_pipeline"
RUN = "manual__2026-11-23T04:00:00+00:00"
REVIEWED_RUN = "manual__2026-11-24T04:00:00+00:00"
PASSWORDS = {"admin": "a-secret", "viewer": "v-secret", "stranger": "s-secret", "kim": "k-secret", "lee": "l-secret"}
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Site:
    """An Airflow and the folder of its first run."""

    url: str
    run: RunFolder
    stack: AirflowStack

    def client(self, user: str | None = None) -> httpx.Client:
        """Return a client that is logged in as `user`; None is anonymous."""
        if user is None:
            return httpx.Client(base_url=self.url, timeout=60)
        login = {"username": user, "password": PASSWORDS[user]}
        token = httpx.post(f"{self.url}/auth/token", json=login, timeout=60).raise_for_status().json()["access_token"]
        return httpx.Client(base_url=self.url, timeout=60, headers={"Authorization": f"Bearer {token}"})

    def reviews(self, kind: ReviewKind = "row") -> ReviewStore:
        """Return the journal of the reviewers' decisions."""
        return ReviewStore(self.stack.artifacts / "reviews", kind)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    env = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer,stranger:,kim:user,lee:user",
        "COVERAGE_PROCESS_CONFIG": "",  # the components are killed at the end and would write no coverage data
    }
    stack = AirflowStack(root / "home", root / "artifacts", env, dags=HERE / "dags")
    write_json(stack.home / "passwords.json", PASSWORDS)
    _make_run(stack, RUN)
    run = write_run(folder_under(stack.artifacts, DAG, RUN).root, models=("Base", "v1", "v2"), questions=60)
    try:
        stack.start_component("api-server")
        deadline = time.monotonic() + 240
        while not _answers(stack.url):
            stack.check_alive()
            assert time.monotonic() < deadline
            time.sleep(0.3)
        yield Site(stack.url, run, stack)
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def hidden_run(site: Site) -> Path:
    """Add a run with 1,000 rows. Its folder is hidden, because other tests look at all runs."""
    _make_run(site.stack, REVIEWED_RUN)
    root = write_review_run(folder_under(site.stack.artifacts, DAG, REVIEWED_RUN).root).root
    return root.rename(site.stack.home / "hidden_run")


@pytest.fixture(scope="module")
def review_run(site: Site, hidden_run: Path) -> Iterator[RunFolder]:
    """Return the run with 1,000 rows, whose folder is there until the end of the module."""
    root = hidden_run.rename(folder_under(site.stack.artifacts, DAG, REVIEWED_RUN).root)
    yield RunFolder(root)
    root.rename(hidden_run)


@pytest.fixture
def run(review_run: RunFolder, site: Site) -> Iterator[RunFolder]:
    """Return the run with 1,000 rows, and undo all decisions after the test."""
    yield review_run
    for kind in get_args(ReviewKind):
        journal = site.reviews(kind)
        for key in journal.states():
            while (now := journal.state(key)).decision:
                journal.undo(key, "test", now.version)


def _make_run(stack: AirflowStack, run_id: str) -> None:
    command = [sys.executable, str(HERE / "make_run.py"), DAG, run_id]
    made = subprocess.run(command, env=stack.env, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-3000:]


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=5).is_success
    except httpx.HTTPError:
        return False
