"""Starts the embedded Airflow together with the Gemini simulator, and sets up Airflow's pools and connections."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from demo.airflow_stack import COMPONENTS, AirflowStack, AirflowStartError, free_port
from insurance_rag.core.files import read_json, write_json
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.setup import set_up_pools

#: Names of the Airflow connections, one per API key.
CONNECTIONS = tuple(f"gemini_k{n}" for n in range(1, 8))
#: Connection -> project, for the two connections that share a project and therefore a quota, as real keys often do.
#: Each of the other connections has a separate project.
PROJECTS = {"gemini_k6": "shared", "gemini_k7": "shared"}
#: Number of simulated seconds per real second. A simulated minute lasts 1.5 seconds.
SIMULATOR_SPEED = 40
#: Options of `insurance_rag simulate`: quotas of each project and answer times like those of a small model in the free
#: tier. A day's quota is renewed every 36 real minutes.
SIMULATOR_OPTIONS = (
    "--speed", str(SIMULATOR_SPEED), "--rpm", "15", "--tpm", "250000", "--rpd", "1000",
    "--set", "latency_s=1.0", "--set", "latency_spread=0.3", "--set", "output_tokens_per_s=300",
)  # fmt: skip


class Services:
    """An embedded Airflow and a Gemini simulator. Airflow has one connection for each of the simulator's seven keys."""

    def __init__(self, home: Path, artifacts: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.artifacts = artifacts
        self.home = home
        self.settings = self._load_settings()
        environment = {
            "GEMINI_CONNECTIONS": ",".join(CONNECTIONS),
            "GEMINI_QUOTA_WINDOW_S": str(60 / SIMULATOR_SPEED),
        }
        self._stack = AirflowStack(home, artifacts, environment)
        self.url = self._stack.url
        self.password = self._stack.settings["password"]

    def _load_settings(self) -> dict[str, str]:
        """Return the simulator's port and keys from the home folder. The first call creates and stores them."""
        path = self.home / "simulator.json"
        if not path.is_file():
            write_json(path, {"port": str(free_port()), **{name: secrets.token_hex(8) for name in CONNECTIONS}})
            path.chmod(0o600)
        return dict(read_json(path))

    @property
    def running(self) -> bool:
        """Whether at least one Airflow component is running."""
        return self._stack.running

    def start(self) -> AirflowApi:
        """Start Airflow and the simulator if they are not running, and wait until the DAG is loaded.

        Also sets up Airflow's pools and connections.

        Raises AirflowStartError if Airflow or the simulator does not start.
        """
        self._start_simulator()
        if not self._stack.running:
            print(f"Starting Airflow ({', '.join(COMPONENTS)}) ...", flush=True)
            self._stack.start()
        api = AirflowApi(self.url, "admin", self.password)
        set_up(api, self._simulator_url, {name: self.settings[name] for name in CONNECTIONS})
        api.wait_for_dag("finetune_pipeline")
        return api

    def stop(self) -> None:
        """Stop Airflow and the simulator, even if an earlier process started them."""
        self._stack.stop()
        if (pid_file := self.home / "simulator.pid.json").is_file():
            pid = int(read_json(pid_file)["pid"])
            if b"insurance_rag" in _command_line(pid):
                os.kill(pid, signal.SIGTERM)
            pid_file.unlink()

    @property
    def _simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.settings['port']}"

    def _start_simulator(self) -> None:
        if _answers(self._simulator_url):
            return
        projects = [
            word for name in CONNECTIONS for word in ("--project", f"{self.settings[name]}={PROJECTS.get(name, name)}")
        ]
        command = [sys.executable, "-m", "insurance_rag", "simulate", "--port", self.settings["port"]]
        with (self.home / "simulator.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *SIMULATOR_OPTIONS, *projects],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        write_json(self.home / "simulator.pid.json", {"pid": process.pid})
        deadline = time.monotonic() + 60
        while not _answers(self._simulator_url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AirflowStartError(f"the simulator did not start; see {self.home / 'simulator.log'}")
            time.sleep(0.1)


def set_up(api: AirflowApi, base_url: str, keys: dict[str, str]) -> None:
    """Create or update Airflow's pools and connections. `keys` maps connection names to API keys."""
    set_up_pools(api, keys=len(keys), gpus=2)  # a laptop has room for two of the demo's small jobs at a time
    for name, key in keys.items():
        project = PROJECTS.get(name)
        extra = "{}" if project is None else f'{{"project": "{project}"}}'
        api.put_connection(name, {"conn_type": "gemini", "host": base_url, "password": key, "extra": extra})


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/stats", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _command_line(pid: int) -> bytes:
    result = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True)
    return result.stdout
