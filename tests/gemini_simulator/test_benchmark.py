"""The generation benchmark runs: one of its scenarios, whose limits do not depend on the speed of the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_dead_keys_cost_two_requests_and_lose_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench.generation",
        "--only",
        "dead_keys",
        "--speed",
        "20",
        "--out",
        str(tmp_path / "result"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checks = json.loads((tmp_path / "result.json").read_text())["checks"]
    assert {check["figure"] for check in checks} == {"calls of a dead key", "lost chunks", "files that contain a key"}
    assert "| dead_keys | lost chunks | 0 | 0 | ok |" in (tmp_path / "result.md").read_text()
