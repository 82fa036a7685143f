"""The services of docker-compose.yaml start, become healthy and run tasks, without Docker."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.containers import Engine, missing_programs
from tests.deploy.environments import SYSTEM_PYTHON, build_airflow, build_gpu
from tests.deploy.files import ROOT, compose, dotenv

TASKS = """
from airflow.sdk import BaseHook, dag, task

@dag(schedule=None)
def probe():
    @task(queue="api")
    def call_the_api():
        import os
        project = BaseHook.get_connection("gemini_k1").extra_dejson["project"]
        return [os.uname().nodename, project, os.listdir("/run/secrets")]

    @task(queue="gpu")
    def train():
        import os, subprocess
        code = "import torch, insurance_rag; print(torch.__version__)"
        found = subprocess.run([os.environ["GPU_PYTHON"], "-c", code], capture_output=True, text=True, check=True)
        with open(os.path.join(os.environ["ARTIFACT_ROOT"], "written"), "w") as file:
            file.write(found.stdout)
        return [os.uname().nodename]

    call_the_api() >> train()

probe()
"""
CLIENT = """
import json, sys, time
from insurance_rag.orchestration.airflow_api import AirflowApi

api = AirflowApi(sys.argv[1], "admin", sys.argv[2])
deadline = time.monotonic() + 150
while "probe" not in [dag["dag_id"] for dag in api.call("GET", "/dags")["dags"]]:
    assert time.monotonic() < deadline, "the DAG was not parsed"
    time.sleep(2)
run = api.trigger("probe", {})
while (state := api.run_state("probe", run)) not in ("success", "failed") and time.monotonic() < deadline:
    time.sleep(2)
value = "/dags/probe/dagRuns/" + run + "/taskInstances/{}/xcomEntries/return_value"
results = {name: api.call("GET", value.format(name))["value"] for name in ("call_the_api", "train")}
print(json.dumps({"state": state, "results": results}))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the users of the containers can enter, unlike pytest's own."""
    missing = missing_programs()
    if missing or not SYSTEM_PYTHON.exists():
        pytest.skip(f"missing: {', '.join(missing) or SYSTEM_PYTHON}")
    with tempfile.TemporaryDirectory(prefix="containers-") as name:
        path = Path(name)
        path.chmod(0o755)
        for folder in ("dags", "run", "opt"):
            (path / folder).mkdir()
        yield path


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(560)
def test_every_service_is_healthy_and_both_workers_run_tasks(folder: Path) -> None:
    (folder / "dags/probe.py").write_text(TASKS)
    build_airflow(folder / "opt/venv")
    build_gpu(folder / "opt/ml")
    make_env = [sys.executable, str(ROOT / "tools/make_env.py"), "--cpu", "--folder", str(folder)]
    subprocess.run(make_env, check=True, capture_output=True)
    secrets = folder / "secrets"
    connection = {"gemini_k1": {"conn_type": "gemini", "password": "k", "extra": {"project": "team-a"}}}
    (secrets / "connections.yaml").write_text(json.dumps(connection))  # JSON is YAML
    password = json.loads((secrets / "passwords.json").read_text())["admin"]

    services = compose(dotenv((folder / ".env").read_text()))
    with Engine(services, folder / "run", secrets, folder / "opt", folder / "dags") as engine:
        for name in ("postgres", "redis"):
            engine.start(name)
            engine.wait_until_healthy(name)
        engine.run("migrate")
        components = ["api-server", "scheduler", "dag-processor", "triggerer", "worker", "worker-cpu"]
        for name in components:
            # All containers share one network here, so the second worker needs another port for its logs.
            port = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "8799"} if name == "worker-cpu" else {}
            engine.start(name, **port)
        for name in components:
            engine.wait_until_healthy(name)
        answer = json.loads(engine.ask(CLIENT, engine.url("api-server", 8080), password).splitlines()[-1])
    assert answer["state"] == "success", answer
    host, project, readable = answer["results"]["call_the_api"]
    assert (host, project) == ("worker", "team-a")
    assert set(readable) == {"redis_password", "api_secret_key", "aws_access_key_id", "aws_secret_access_key"}
    assert answer["results"]["train"] == ["worker-cpu"]
    assert (folder / "run/artifacts/written").read_text().startswith("2.")
    logs = "".join(path.read_text(errors="replace") for path in (folder / "run").glob("*.log"))
    for path in secrets.iterdir():
        value = path.read_text().strip()
        assert len(value) < 20 or value not in logs, f"{path.name} is in a log"
