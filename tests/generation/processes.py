"""The command `generate` as a process of its own, which a test can stop, kill or give another environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from gemini_simulator import RunningSimulator
from insurance_rag.core.records import ApiKey


def generate_command(run: Path, sim: RunningSimulator, *options: str) -> list[str]:
    return [sys.executable, "-m", "insurance_rag", "generate", "--run", str(run), "--base-url", sim.url, *options]


def environment(sim: RunningSimulator, keys: list[ApiKey], extra: Mapping[str, str]) -> dict[str, str]:
    secrets = ",".join(key.key.get_secret_value() for key in keys)
    return {**os.environ, "GEMINI_API_KEYS": secrets, "GEMINI_QUOTA_WINDOW_S": str(sim.window_s), **extra}


def start_generate(
    run: Path, sim: RunningSimulator, keys: list[ApiKey], *options: str, extra: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start the command. Its standard error can be read as text."""
    return subprocess.Popen(
        generate_command(run, sim, *options),
        env=environment(sim, keys, extra or {}),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for_answers(sim: RunningSimulator, n: int, timeout_s: float = 30.0) -> None:
    """Wait until the server has answered at least `n` chunks."""
    deadline = time.monotonic() + timeout_s
    while sim.stats()["distinct_answered"] < n:
        assert time.monotonic() < deadline, f"{n} chunks were not answered in time"
        time.sleep(0.02)
