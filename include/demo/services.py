"""Airflow and the simulator together, set up so that a run can be triggered at once."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from demo.airflow_stack import Stack, StackError, free_port
from insurance_rag.core.files import read_json, write_json
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.setup import set_up_pools

KEYS = tuple(f"gemini_k{n}" for n in range(1, 8))
#: Two of the seven keys share a project, as real keys do.
PROJECTS = {"gemini_k6": "shared", "gemini_k7": "shared"}
SIMULATOR_RPM = 60
SIMULATOR_SPEED = 20  # its minute lasts three seconds


class Services:
    """The embedded stack plus a Gemini simulator whose keys stand in seven connections."""

    def __init__(self, home: Path, artifacts: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.artifacts = artifacts
        self.home = home
        self.settings = self._load_settings()
        self._stack = Stack(home, artifacts, {
            "GEMINI_CONNECTIONS": ",".join(KEYS),
            "GEMINI_QUOTA_WINDOW_S": str(60 / SIMULATOR_SPEED),
        })  # fmt: skip
        self.url = self._stack.url
        self.password = self._stack.settings["password"]

    def _load_settings(self) -> dict[str, str]:
        path = self.home / "simulator.json"
        if not path.is_file():
            write_json(path, {"port": str(free_port()), **{name: secrets.token_hex(8) for name in KEYS}})
            path.chmod(0o600)
        return dict(read_json(path))

    @property
    def running(self) -> bool:
        return self._stack.running

    def start(self) -> AirflowApi:
        """Start what does not run yet, and set up pools and connections (again, if they are there)."""
        self._start_simulator()
        if not self._stack.running:
            print("starting Airflow (api-server, scheduler, dag-processor, triggerer) ...", flush=True)
            self._stack.start()
        api = AirflowApi(self.url, "admin", self.password)
        set_up(api, self._simulator_url, {name: self.settings[name] for name in KEYS})
        api.wait_for_dag("finetune_pipeline")
        return api

    def stop(self) -> None:
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
            word for name in KEYS for word in ("--project", f"{self.settings[name]}={PROJECTS.get(name, name)}")
        ]
        command = [sys.executable, "-m", "insurance_rag", "simulate", "--port", self.settings["port"]]
        quota = ["--rpm", str(SIMULATOR_RPM), "--speed", str(SIMULATOR_SPEED)]
        with (self.home / "simulator.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *quota, *projects],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        write_json(self.home / "simulator.pid.json", {"pid": process.pid})
        deadline = time.monotonic() + 60
        while not _answers(self._simulator_url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"the simulator did not start; see {self.home / 'simulator.log'}")
            time.sleep(0.1)


def set_up(api: AirflowApi, base_url: str, keys: dict[str, str]) -> None:
    """Pools and connections; the same call again changes nothing."""
    set_up_pools(api, keys=len(keys), gpus=2)  # two of the demo's small jobs fit a laptop
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
