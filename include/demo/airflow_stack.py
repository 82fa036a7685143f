"""Starts and stops an embedded Airflow with an SQLite database.

Each of the four components has a separate process group and log file.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from insurance_rag.core.errors import PipelineError
from insurance_rag.core.files import read_json, write_json

#: Root folder of the repository.
PROJECT_ROOT = Path(__file__).parents[2]
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
START_TIMEOUT_S = 240
STOP_TIMEOUT_S = 15


class AirflowStartError(PipelineError):
    """Airflow or the simulator did not start, or a component has exited.

    The message contains the end of the log or names the log file.
    """


def free_port() -> int:
    """Return a local TCP port that is currently free."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class AirflowStack:
    """An embedded Airflow. Its processes run until `stop` is called, even after this Python process has ended."""

    home: Path
    """Folder for the database, logs, ports and secrets."""
    artifacts: Path
    """Folder that contains the run folders."""
    extra_env: Mapping[str, str] = field(default_factory=dict)
    """Extra environment variables for every component. Components also inherit those of this process."""
    dags: Path = PROJECT_ROOT / "dags"

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.settings = self._load_settings()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def _load_settings(self) -> dict[str, str]:
        """Return the ports and secrets from the home folder. The first call creates and stores them.

        If a component is restarted, it must use the same values as the components that are still running.
        """
        path = self.home / "embedded.json"
        if path.is_file():
            return dict(read_json(path))
        settings = {
            "port": str(free_port()),
            "worker_log_port": str(free_port()),
            "trigger_log_port": str(free_port()),
            "password": secrets.token_urlsafe(12),
            "jwt_secret": secrets.token_urlsafe(32),
            "fernet_key": _fernet_key(),
        }
        write_json(path, settings)
        path.chmod(0o600)
        return settings

    @property
    def url(self) -> str:
        """URL of the api-server, which also serves the web interface."""
        return f"http://127.0.0.1:{self.settings['port']}"

    @property
    def env(self) -> dict[str, str]:
        """Environment variables for the components and for `airflow` commands that use this stack."""
        port = self.settings["port"]
        settings = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            # SQLite works with 8 parallel tasks and fails with Airflow's default of 32.
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "8",
            # If a scheduler is killed, its tasks are restarted within one minute instead of five.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
            "AIRFLOW__CORE__FERNET_KEY": self.settings["fernet_key"],
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self.settings["jwt_secret"],
            "AIRFLOW__API__SECRET_KEY": self.settings["jwt_secret"],
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": self.settings["worker_log_port"],
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": self.settings["trigger_log_port"],
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "ARTIFACT_ROOT": str(self.artifacts),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        return {**os.environ, **settings, **self.extra_env}

    def start(self) -> None:
        """Migrate the database, start all components, and wait until Airflow reports that they are healthy.

        Raises AirflowStartError if any of these steps fails.
        """
        self.migrate()
        for name in COMPONENTS:
            self.start_component(name)
        self.wait_healthy()

    def migrate(self) -> None:
        """Store the password of the user `admin`, and create or migrate the database.

        Raises AirflowStartError if the database cannot be migrated.
        """
        write_json(self.home / "passwords.json", {"admin": self.settings["password"]})
        (self.home / "passwords.json").chmod(0o600)
        with (self.home / "migrate.log").open("wb") as log:
            migrated = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"], env=self.env, stdout=log, stderr=log
            )
        if migrated.returncode:
            raise AirflowStartError(
                "`airflow db migrate` failed; fix the cause and start again. The end of its log:\n"
                + _tail(self.home / "migrate.log")
            )

    def start_component(self, name: str) -> None:
        """Start one component without waiting until it is healthy."""
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", name],
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._processes[name] = process
        write_json(self._pid_file(name), {"pid": process.pid})

    def wait_healthy(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until Airflow reports that its components are healthy.

        Raises AirflowStartError if a component exits or the timeout expires.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
            except (httpx.HTTPError, json.JSONDecodeError):
                health = {}
            states = [health.get(part, {}).get("status") for part in ("scheduler", "dag_processor", "triggerer")]
            if states == ["healthy"] * 3:
                return
            time.sleep(0.5)
        raise AirflowStartError(f"Airflow was not healthy after {timeout_s:.0f} s; see the logs in {self.home}")

    def check_alive(self) -> None:
        """Raise AirflowStartError if a component that this object started has exited."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = _tail(self.home / f"{name}.log")
                raise AirflowStartError(
                    f"{name} exited with code {process.returncode}; fix the cause and start again. "
                    f"The end of its log:\n{log}"
                )

    def stop(self) -> None:
        """Stop all components of this stack, including those that an earlier process started.

        Sends SIGTERM first, then SIGKILL to the components that are still running.
        """
        pids = {name: pid for name in COMPONENTS if (pid := self._running_pid(name))}
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids.values():
                _signal_group(pid, signal_number)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while time.monotonic() < deadline and any(self._running_pid(name) for name in pids):
                time.sleep(0.1)
        for name in COMPONENTS:
            self._pid_file(name).unlink(missing_ok=True)
        self._processes.clear()

    @property
    def running(self) -> bool:
        """Whether at least one component of this stack is running."""
        return any(self._running_pid(name) for name in COMPONENTS)

    def kill_component(self, name: str) -> None:
        """Kill one component and its child processes with SIGKILL, to simulate a crash."""
        if pid := self._running_pid(name):
            _signal_group(pid, signal.SIGKILL)
            self._processes.pop(name).wait()

    def _pid_file(self, name: str) -> Path:
        return self.home / f"{name}.pid.json"

    def _running_pid(self, name: str) -> int | None:
        if not self._pid_file(name).is_file():
            return None
        pid = int(read_json(self._pid_file(name))["pid"])
        if name in self._processes and self._processes[name].poll() is not None:
            return None
        return pid if _is_airflow(pid) else None


def _signal_group(pid: int, signal_number: signal.Signals) -> None:
    try:
        os.killpg(pid, signal_number)
    except ProcessLookupError:
        return


def _is_airflow(pid: int) -> bool:
    """Return whether the process is an Airflow component.

    A PID file can outlive its process, and the system can then give the PID to another process.
    """
    try:
        command = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
    except FileNotFoundError:  # slim container images have no `ps`
        command = Path(f"/proc/{pid}/cmdline").read_text() if Path(f"/proc/{pid}").exists() else ""
    return "airflow" in command


def _tail(path: Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.is_file() else "(no log)"


def _fernet_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()
