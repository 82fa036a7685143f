"""The generation benchmark runs: one of its scenarios, whose limits do not depend on the speed of the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "generation.py"


def test_dead_keys_cost_two_requests_and_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--only", "dead_keys", "--speed", "20", "--out", str(tmp_path / "result")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checks = json.loads((tmp_path / "result.json").read_text())["checks"]
    assert {check["what"] for check in checks} == {"requests of a dead key", "lost", "files that hold a key"}
    assert "| dead keys | lost | 0 | 0 | ok |" in (tmp_path / "result.md").read_text()
