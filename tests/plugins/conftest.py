"""A real api-server with the plugin, three users, and one DAG with a failed run that has a complete run folder."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.report.sample_run import write_run

from demo.airflow_stack import AirflowStack
from insurance_rag.core.files import write_json
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.runs import folder_under

DAG = "finetune_pipeline"
RUN = "manual__2026-11-23T04:00:00+00:00"
PASSWORDS = {"admin": "a-secret", "viewer": "v-secret", "stranger": "s-secret", "kim": "k-secret", "lee": "l-secret"}
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Site:
    """An Airflow and the folder of its only run."""

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


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    env = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer,stranger:,kim:user,lee:user",
        "COVERAGE_PROCESS_CONFIG": "",  # the components are killed at the end and would write no coverage data
    }
    stack = AirflowStack(root / "home", root / "artifacts", env, dags=HERE / "dags")
    write_json(stack.home / "passwords.json", PASSWORDS)
    make_run = [sys.executable, str(HERE / "make_run.py"), DAG, RUN]
    made = subprocess.run(make_run, env=stack.env, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-3000:]
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


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=5).is_success
    except httpx.HTTPError:
        return False
