"""The command `python -m insurance_rag simulate`, run as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from insurance_rag.cli.main import main


def test_it_serves_until_interrupted_and_prints_the_totals(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "insurance_rag", "simulate", "--ready-file", str(ready), "--rpm", "1", "--json"]
    options = ["--project", "k1=p", "--project", "k2=p", "--speed", "20", "--set", "latency_s=0", "--faults", "{}"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        url = json.loads(ready.read_text())["url"] + "/v1beta/models/m:generateContent"
        body = {"contents": [{"parts": [{"text": "제1조(목적)\n이 계약은 1년입니다."}]}]}
        codes = [httpx.post(url, json=body, headers={"x-goog-api-key": key}).status_code for key in ("k1", "k2")]
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=20)
    assert codes == [200, 429]
    totals = json.loads(printed.strip().splitlines()[-1])
    assert (totals["calls"], totals["answered"], totals["refused_429"]) == (2, 1, 1)
    assert process.returncode == 0


def test_all_invalid_arguments_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--project", "k1", "--faults", "{"]) == 2
    assert main(["simulate", "--faults", '{"504": 0.1}', "--set", "windo=fixed"]) == 2
    printed = capsys.readouterr().err
    assert "--project k1" in printed and "--faults: not JSON" in printed
    assert "504" in printed and "did you mean 'window'" in printed
