from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.generation.runs import chunks

from gemini_simulator import running_simulator
from insurance_rag.cli.main import main


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch):
    with running_simulator(speed=600, defects=0) as simulator:
        monkeypatch.setenv("GEMINI_BASE_URL", simulator.url)
        monkeypatch.setenv("GEMINI_QUOTA_WINDOW_S", str(simulator.window_s))
        monkeypatch.setenv("GEMINI_API_KEYS", "one,two")
        yield simulator


def write(path: Path, clauses: list) -> Path:
    path.write_text("\n".join(chunk.model_dump_json() for chunk in clauses))
    return path


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_plan_and_generate_by_the_environment(tmp_path: Path, sim, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    call(capsys, "plan", "--chunks", str(write(tmp_path / "c.jsonl", chunks(6))), "--out", run)
    assert call(capsys, "generate", "--run", run, "--shard", "2")["label"] == "shard 2/2 · gemini_k2"
    assert call(capsys, "generate", "--run", run)["calls"] == 6
    assert sim.stats()["calls"] == 6


def test_a_refresh_asks_for_what_is_new_or_changed(tmp_path: Path, sim, capsys: pytest.CaptureFixture[str]) -> None:
    old = chunks(20)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    call(capsys, "plan", "--chunks", str(write(tmp_path / "a.jsonl", old)), "--out", first)
    call(capsys, "generate", "--run", first)
    changed = old[3].model_copy(update={"text": "제4조(입원보험금)\n회사는 입원하면 44만원을 지급합니다."})
    new = [chunks(1, start=99)[0], *old[:3], changed, *old[4:18]]  # one in front, one changed, two gone
    plan = call(capsys, "plan", "--chunks", str(write(tmp_path / "b.jsonl", new)), "--out", second, "--previous", first)
    account = {"added": 1, "changed": 1, "removed": 2, "calls_saved": 17}
    assert {name: plan["refresh"][name] for name in account} == account
    result = call(capsys, "generate", "--run", second)
    assert result["chunks"] == 19
    assert result["calls"] == 2
    assert sim.stats()["calls"] == 22
    assert json.loads((tmp_path / "second/parts/usage.json").read_text())["calls_saved"] == 17
    rows = [row for n in (1, 2) for row in json.loads((tmp_path / f"second/parts/dataset_part_{n}.json").read_text())]
    assert {row["chunk_id"] for row in rows} == {chunk.chunk_id for chunk in new}


def test_the_keys_file_of_the_plan_is_remembered(tmp_path: Path, sim, capsys, monkeypatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEYS")
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"id": "mine", "key": "mine"}]))
    run = str(tmp_path / "run")
    call(capsys, "plan", "--chunks", str(write(tmp_path / "c.jsonl", chunks(3))), "--keys", str(keys), "--out", run)
    assert call(capsys, "generate", "--run", run)["parts"][0]["label"] == "shard 1/1 · mine"


def test_exit_codes(tmp_path: Path, sim, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    assert main(["generate", "--run", str(run)]) == 2
    assert "run `plan --chunks" in capsys.readouterr().err
    assert not run.exists()
    call(capsys, "plan", "--chunks", str(write(tmp_path / "c.jsonl", chunks(40))), "--out", str(run))
    assert main(["generate", "--run", str(run), "--shard", "9"]) == 2
    assert main(["generate", "--run", str(run), "--budget", "0.001"]) == 3
    assert "BudgetExceededError" in capsys.readouterr().err
    monkeypatch.setenv("GEMINI_API_KEYS", "one")
    assert main(["generate", "--run", str(run), "--shard", "2"]) == 2
    assert "planned for key 'gemini_k2'" in capsys.readouterr().err
