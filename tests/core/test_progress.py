from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ProgressState


def test_the_file_shows_the_state_to_other_processes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    states: list[ProgressState] = []
    with (
        caplog.at_level(logging.INFO),
        Progress(
            "generate",
            "shard 3/7 · gemini_k4",
            total=4,
            done=1,
            unit="chunks",
            folder=tmp_path,
            on_update=states.append,
        ) as progress,
    ):
        progress.advance()
        progress.note(requests_429=2)
    (path,) = tmp_path.glob("*.json")
    state = json.loads(path.read_text())
    assert "/" not in path.name and state["label"] == "shard 3/7 · gemini_k4"
    assert (state["done"], state["total"], state["state"], state["figures"]) == (2, 4, "done", {"requests_429": 2})
    assert states[-1].state == "done"
    assert "2/4 chunks" in caplog.text


def test_a_failure_is_recorded_with_its_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError), Progress("train", total=1, folder=tmp_path):
        raise ValueError("no rows")
    state = ProgressState.model_validate_json((tmp_path / "train.json").read_text())
    assert (state.state, state.figures) == ("failed", {"error": "ValueError: no rows"})


def test_the_rate_counts_only_units_of_this_process() -> None:
    progress = Progress("generate", total=100, done=90)
    assert progress.snapshot.rate_per_min == 0 and progress.snapshot.eta_s is None
    progress.advance(5)
    assert progress.snapshot.eta_s is not None


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress("evaluate", total=2, unit="questions") as progress:
        progress.advance()
        progress.note(loss=1.5)
    assert "evaluate" in capsys.readouterr().err
