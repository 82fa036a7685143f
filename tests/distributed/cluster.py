"""An Airflow on Postgres, Redis and Celery: four components and two workers, each with its own queue.

All artifacts are on an S3 server. Every process has its own scratch folder, which is lost when the process is killed.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import httpx
from tests.airflow.conftest import Airflow
from tests.distributed.processes import ProcessSet
from tools.local_servers import S3, Postgres, Redis

from demo.airflow_stack import COMPONENTS, AirflowStack, free_port
from demo.services import SIMULATOR_OPTIONS, SIMULATOR_SPEED, Services, set_up
from gemini_simulator.stats import SimulatorStats
from insurance_rag.core.files import write_json
from insurance_rag.orchestration.airflow_api import AirflowApi, AirflowApiError

KEYS = tuple(f"gemini_k{n}" for n in range(1, 4))
#: Worker -> queue. Both run two tasks at a time.
WORKERS = {"api-worker": "api", "gpu-worker": "gpu"}
CONCURRENCY = 2

#: What differs from Airflow's defaults in production (docs/deploy.md, section Celery).
PRODUCTION = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__OPERATORS__DEFAULT_QUEUE": "api",
    "API_QUEUE": "api",
    "GPU_QUEUE": "gpu",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "20",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
    "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "15",
}
#: After how many seconds without a sign of life a task is repeated.
HEARTBEAT_TIMEOUT = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"
#: Shorter times than in production, so that the test ends in minutes.
SHORT_TIMES = {
    HEARTBEAT_TIMEOUT: "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "20",
    "ARTIFACT_LEASE_S": "10",
}
BUCKET = "insurance-rag"
ARTIFACT_ROOT = f"s3://{BUCKET}/artifacts"

#: Options of the simulator: a shard takes long enough to be interrupted.
SLOW_SIMULATOR = (*SIMULATOR_OPTIONS, "--rpm", "6")


class Cluster:
    """The processes of one Airflow installation, and a Gemini simulator with a record of every request."""

    def __init__(self, root: Path, postgres: Postgres, redis: Redis, s3: S3) -> None:
        self.postgres, self.redis, self.s3 = postgres, redis, s3
        self._scratch = root / "scratch"
        self.bucket_settings = {
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anyone",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": s3.url,
        }
        settings = {
            **PRODUCTION,
            **SHORT_TIMES,
            **self.bucket_settings,
            "ARTIFACT_ROOT": ARTIFACT_ROOT,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": redis.url.removesuffix("0") + "1",
            "AIRFLOW__CELERY__BROKER_URL": redis.url,
            "GEMINI_CONNECTIONS": ",".join(KEYS),
            "GEMINI_QUOTA_WINDOW_S": str(60 / SIMULATOR_SPEED),
        }
        self._stack = AirflowStack(root / "home", root, settings)
        self.processes = ProcessSet(root / "logs")
        self.api = AirflowApi(self._stack.url, "admin", self._stack.settings["password"])
        self.airflow = Airflow(self.api, cast("Services", self))  # only its method `folder` needs the services
        self._keys = {name: secrets.token_hex(8) for name in KEYS}
        self._simulator = f"http://127.0.0.1:{free_port()}"

    def start(self) -> None:
        """Start all processes and wait until the DAG is loaded."""
        httpx.put(f"{self.s3.url}/{BUCKET}").raise_for_status()
        self._start_simulator()
        self._stack.migrate()
        for name in COMPONENTS:
            self._airflow(name, name)
        for name, queue in WORKERS.items():
            self._airflow(name, "celery", "worker", "--queues", queue, "--concurrency", str(CONCURRENCY),
                          "--celery-hostname", f"{name}@%h", "--skip-serve-logs")  # fmt: skip
        self._stack.wait_healthy()
        set_up(self.api, self._simulator, self._keys)
        self.api.wait_for_dag("finetune_pipeline")

    def stop(self) -> None:
        """Stop all processes."""
        self.processes.stop()

    def requests(self) -> SimulatorStats:
        """Return the simulator's statistics on all requests."""
        stats: SimulatorStats = httpx.get(f"{self._simulator}/stats", timeout=30).json()
        return stats

    def scratch(self, name: str) -> Path:
        """Return the scratch folder of a process."""
        return self._scratch / name

    def lose(self, worker: str) -> list[str]:
        """Kill a worker with all its processes and delete its scratch folder: its machine is lost.

        Another machine replaces it two seconds later. Returns the command lines of the killed processes.
        """
        commands = self.processes.kill(worker)
        shutil.rmtree(self.scratch(worker), ignore_errors=True)
        return commands

    @contextlib.contextmanager
    def patient_scheduler(self) -> Iterator[None]:
        """Use Airflow's default for HEARTBEAT_TIMEOUT in a scheduler that starts meanwhile, e.g. after an outage."""
        self.processes.change("scheduler", {HEARTBEAT_TIMEOUT: "300"})
        try:
            yield
        finally:
            self.processes.change("scheduler", {HEARTBEAT_TIMEOUT: SHORT_TIMES[HEARTBEAT_TIMEOUT]})
            self.processes.kill("scheduler")

    def generate_elsewhere(self, run: str) -> subprocess.Popen[str]:
        """Start to generate a shard of a run from another machine, like a second deployment on the same bucket."""
        machine = self.scratch("elsewhere")
        machine.mkdir(parents=True)
        write_json(machine / "keys.json", [{"id": name, "key": key} for name, key in self._keys.items()])
        command = [sys.executable, "-m", "insurance_rag", "generate", "--run", run, "--shard", "1"]
        env = {**self._stack.env, "ARTIFACT_SCRATCH": str(machine), "GEMINI_BASE_URL": self._simulator}
        return subprocess.Popen(
            [*command, "--keys", str(machine / "keys.json")], env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run_ended(self, dag_id: str, run_id: str) -> bool:
        """Return whether a run has succeeded or failed."""
        return self.api.run_state(dag_id, run_id) in ("success", "failed")

    def delivered(self) -> int:
        """Return how many chunks the simulator has answered. A chunk counts again each time that it is answered."""
        return self.requests()["chunks_answered"]

    def wait_until(self, what: str, holds: Callable[[], object], timeout_s: float = 900) -> None:
        """Wait until `holds()` is true. Requests that fail meanwhile count as not yet."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(httpx.HTTPError, AirflowApiError):
                if holds():
                    return
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
            time.sleep(0.5)

    def _airflow(self, name: str, *arguments: str) -> None:
        env = {**self._stack.env, "ARTIFACT_SCRATCH": str(self.scratch(name))}
        self.processes.start(name, [sys.executable, "-m", "airflow", *arguments], env)

    def _start_simulator(self) -> None:
        projects = [word for key in self._keys.values() for word in ("--project", f"{key}={key}")]
        port = self._simulator.rpartition(":")[2]
        command = [sys.executable, "-m", "insurance_rag", "simulate", "--port", port, *SLOW_SIMULATOR, *projects]
        self.processes.start("simulator", command, {})
        self.wait_until("the simulator answers", self.requests, timeout_s=60)
