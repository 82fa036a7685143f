from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.planning.conftest import MakeChunks

from insurance_rag.cli.main import main
from insurance_rag.core.records.planning import PlanArtifact


@pytest.fixture
def files(tmp_path: Path, make_chunks: MakeChunks) -> Path:
    lines = [chunk.model_dump_json() for chunk in make_chunks(10)]
    (tmp_path / "chunks.jsonl").write_text("\n".join(lines))
    (tmp_path / "keys.json").write_text(json.dumps([{"id": f"k{i}", "key": f"PLANTED{i}"} for i in (1, 2)]))
    return tmp_path


def plan(files: Path, *more: str, keys: str = "keys.json", out: str = "run") -> int:
    argv = ["plan", "--chunks", str(files / "chunks.jsonl"), "--keys", str(files / keys), "--out", str(files / out)]
    return main([*argv, "--json", *more])


def test_the_plan_and_the_chunks_are_written(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(files, "--model", "m", "--set", "types=[fact]", "--base-url", "http://x") == 0
    result = PlanArtifact.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert [s.chunks for s in result.shards] == [5, 5]
    assert result.partition.each_in_exactly_one_shard and result.refresh is None
    written = json.loads((files / "run/plan.json").read_text())
    assert written["config"]["model"] == "m"
    assert written["config"]["types"] == ["fact"]
    assert result.estimate and result.estimate.chunks == 10 and result.estimate.cost_usd is None
    assert json.loads((files / "run/estimate.json").read_text())["chunks"] == 10
    assert "PLANTED" not in (files / "run/plan.json").read_text()
    assert len((files / "run/chunked_data.jsonl").read_text().splitlines()) == 10


def test_a_previous_run_is_reported(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(files) == 0
    assert plan(files, "--previous", str(files / "run"), out="second") == 0
    result = PlanArtifact.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert result.refresh and (result.refresh.added, result.refresh.calls_saved) == (0, 0)
    assert plan(files, "--previous", str(files / "none"), out="third") == 2
    assert "contains no plan.json" in capsys.readouterr().err


def test_all_problems_are_shown_at_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "chunks.jsonl").write_text('{"chunk_id": "a"}\nnot json\n')
    (files / "run").write_text("a file")
    assert plan(files, "--set", "tipes=1", keys="none.json") == 2
    text = capsys.readouterr().err
    for part in (
        "chunks.jsonl:1",
        "chunks.jsonl:2",
        "none.json",
        "did you mean 'types'",
        "run folder cannot be written",
    ):
        assert part in text


def test_the_model_of_the_environment(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_MODEL", "gemini-x")
    assert plan(files) == 0
    assert json.loads((files / "run/plan.json").read_text())["config"]["model"] == "gemini-x"
    assert plan(files, "--model", "gemini-y") == 0
    assert json.loads((files / "run/plan.json").read_text())["config"]["model"] == "gemini-y"


def test_a_retiring_model_is_warned_about(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert plan(files, "--model", "gemini-2.5-flash") == 0
    (warning,) = [r.message for r in caplog.records if "retire" in r.message]
    assert "gemini-3.5-flash-lite" in warning
