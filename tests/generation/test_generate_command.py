"""The commands plan and generate, with keys and server from the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.generation.runs import chunks

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.cli.main import main
from insurance_rag.core.records import Chunk

Output = pytest.CaptureFixture[str]


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSimulator]:
    with running_simulator(speed=600, defects=0) as simulator:
        monkeypatch.setenv("GEMINI_BASE_URL", simulator.url)
        monkeypatch.setenv("GEMINI_QUOTA_WINDOW_S", str(simulator.window_s))
        monkeypatch.setenv("GEMINI_API_KEYS", "one,two")
        yield simulator


def write(path: Path, content: Sequence[Chunk]) -> Path:
    path.write_text("\n".join(chunk.model_dump_json() for chunk in content))
    return path


def call(capsys: Output, *argv: str) -> dict[str, Any]:
    assert main([*argv, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result


def test_keys_and_server_from_the_environment(tmp_path: Path, sim: RunningSimulator, capsys: Output) -> None:
    run = str(tmp_path / "run")
    call(capsys, "plan", "--chunks", str(write(tmp_path / "c.jsonl", chunks(6))), "--out", run)
    assert call(capsys, "generate", "--run", run, "--shard", "2")["label"] == "shard 2/2 · gemini_k2"
    result = call(capsys, "generate", "--run", run)
    stats = sim.stats()
    assert result["calls"] == stats["calls"]
    assert (stats["distinct_answered"], stats["repeated_answers"]) == (6, 0)


def test_refresh_generates_only_new_and_changed_chunks(tmp_path: Path, sim: RunningSimulator, capsys: Output) -> None:
    old = chunks(20)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    call(capsys, "plan", "--chunks", str(write(tmp_path / "a.jsonl", old)), "--out", first)
    call(capsys, "generate", "--run", first)
    calls = sim.stats()["calls"]
    changed = old[3].model_copy(update={"text": "제4조(입원보험금)\n회사는 입원하면 44만원을 지급합니다."})
    new = [chunks(1, start=99)[0], *old[:3], changed, *old[4:18]]  # one new in front, one changed, two removed
    plan = call(capsys, "plan", "--chunks", str(write(tmp_path / "b.jsonl", new)), "--out", second, "--previous", first)
    expected = {"added": 1, "changed": 1, "removed": 2, "calls_saved": 17}
    assert {name: plan["refresh"][name] for name in expected} == expected
    result = call(capsys, "generate", "--run", second)
    assert result["chunks"] == 19
    assert (result["chunks_answered"], result["calls"]) == (2, sim.stats()["calls"] - calls)
    assert (sim.stats()["distinct_answered"], sim.stats()["repeated_answers"]) == (22, 0)
    assert json.loads((tmp_path / "second/parts/usage.json").read_text())["calls_saved"] == 17
    rows = [row for n in (1, 2) for row in json.loads((tmp_path / f"second/parts/dataset_part_{n}.json").read_text())]
    assert {row["chunk_id"] for row in rows} == {chunk.chunk_id for chunk in new}


def test_a_key_that_is_not_planned_is_named(
    tmp_path: Path,
    sim: RunningSimulator,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    argv = ["--chunks", str(write(tmp_path / "c.jsonl", chunks(6))), "--out", str(tmp_path / "run")]
    call(capsys, "plan", *argv)
    monkeypatch.setenv("GEMINI_API_KEYS", "one,two,three")
    assert main(["generate", "--run", str(tmp_path / "run")]) == 0
    assert "not in the plan and therefore not used: gemini_k3; to use all keys, plan again" in caplog.text
    caplog.clear()
    call(capsys, "plan", *argv)
    assert main(["generate", "--run", str(tmp_path / "run")]) == 0
    assert "not used" not in caplog.text


def test_keys_file_of_the_plan_is_used_again(
    tmp_path: Path, sim: RunningSimulator, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEYS")
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"id": "mine", "key": "mine"}]))
    run = str(tmp_path / "run")
    call(capsys, "plan", "--chunks", str(write(tmp_path / "c.jsonl", chunks(3))), "--keys", str(keys), "--out", run)
    assert call(capsys, "generate", "--run", run)["parts"][0]["label"] == "shard 1/1 · mine"


def test_exit_codes(tmp_path: Path, sim: RunningSimulator, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
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
