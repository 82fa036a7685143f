from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from insurance_rag.core.progress import Progress


def test_the_file_tells_other_processes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[dict[str, Any]] = []
    with (
        caplog.at_level(logging.INFO),
        Progress(
            "generate", "shard 3/7 · gemini_k4", total=4, done=1, unit="chunks", folder=tmp_path, on_update=heard.append
        ) as progress,
    ):
        progress.advance()
        progress.note(rate_limited=2)
    (path,) = tmp_path.glob("*.json")
    state = json.loads(path.read_text())
    assert "/" not in path.name and state["label"] == "shard 3/7 · gemini_k4"
    assert (state["done"], state["total"], state["state"], state["rate_limited"]) == (2, 4, "done", 2)
    assert heard[-1]["state"] == "done"
    assert "2/4 chunks" in caplog.text


def test_a_failure_is_marked(tmp_path: Path) -> None:
    with pytest.raises(ValueError), Progress("train", total=1, folder=tmp_path):
        raise ValueError
    assert json.loads((tmp_path / "train.json").read_text())["state"] == "failed"


def test_the_rate_counts_only_what_this_process_did() -> None:
    progress = Progress("generate", total=100, done=90)
    assert progress.snapshot["rate_per_min"] == 0 and progress.snapshot["eta_s"] is None
    progress.advance(5)
    assert progress.snapshot["eta_s"] is not None


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress("evaluate", total=2, unit="questions") as progress:
        progress.advance()
        progress.note(loss=1.5)
    assert "evaluate" in capsys.readouterr().err
