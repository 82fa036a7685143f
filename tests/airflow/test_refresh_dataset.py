"""The weekly refresh and its failures in a real Airflow: it pays for changes only, loses nothing, publishes once."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.airflow.conftest import Airflow, write_sample_files
from tests.reader import read_steps

from demo.airflow_stack import AirflowStack
from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import read_json, read_jsonl, write_jsonl
from insurance_rag.core.records.generation import PartManifest
from insurance_rag.orchestration.airflow_api import ApiObject

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(420)]

DAG = "refresh_dataset"
CHUNKS = 36
#: Another model than in the runs of other tests, so that their answers are not reused.
MODEL = "gemini-2.5-flash-lite"
#: One call per chunk.
GENERATION: dict[str, JsonValue] = {"repair": False, "chunks_per_call": 1, "model": MODEL}
DEAD_KEY = "planted-dead-key"
SCHEDULE_PAGE = Path(__file__).parents[2] / "docs/how-to/schedule.md"


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(
        quota={"rpm": 600}, speed=20, latency_s=0.2, defects=0.1, key_states={DEAD_KEY: "invalid"}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def conf(
    airflow: Airflow, simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, JsonValue]:
    """36 chunks of three products with their questions; three keys of a simulator that counts the calls."""
    files = write_sample_files(tmp_path_factory.mktemp("input"), every=2)
    for n in (1, 2, 3):
        airflow.put_key(f"test_k{n}", simulator.url, f"test-key-{n}")
    airflow.pause("finetune_pipeline")
    return {
        **files,
        "keys": ["test_k1", "test_k2", "test_k3"],
        "generation": GENERATION,
    }


def events(airflow: Airflow) -> list[ApiObject]:
    """Return the events of the published dataset."""
    found = airflow.api.call("GET", "/assets/events", params={"limit": 100})["asset_events"]
    return [e for e in found if e["name"] == "qa_dataset"]


def find(states: dict[str, str], start: str) -> str:
    """Return the only task whose name starts with `start`. Its label may end with the chunks that moved."""
    (name,) = (task for task in states if task.startswith(start))
    return name


def test_a_dead_key_fails_its_shard_and_clearing_only_failed_repairs_the_run(
    airflow: Airflow, simulator: RunningSimulator, conf: dict[str, JsonValue]
) -> None:
    published = len(events(airflow))
    airflow.put_key("test_k2", simulator.url, DEAD_KEY)
    run_id = airflow.run(DAG, {**conf, "generation": {**GENERATION, "redistribute": False}})
    states = airflow.states(DAG, run_id)
    dead = f"generate [shard 2/3 · test_k2 · {CHUNKS // 3} chunks missing]"
    assert {t for t, s in states.items() if s == "failed"} == {dead, "validate"}, states
    assert "shard 2/3 · test_k2" in airflow.api.log(DAG, run_id, "validate")
    frames = airflow.traceback_frames(DAG, run_id, "generate", 1)
    assert len(frames) < 20, frames
    assert {Path(name).name for name in frames if "insurance_rag" in name} <= {"task_errors.py"}
    calls = simulator.stats()["calls"]

    airflow.put_key("test_k2", simulator.url, "test-key-2")
    path = f"/dags/{DAG}/clearTaskInstances"
    cleared = airflow.api.call("POST", path, json={"dry_run": False, "dag_run_id": run_id, "only_failed": True})
    assert {c["task_id"] for c in cleared["task_instances"]} >= {"generate", "validate"}
    airflow.wait_for(DAG, run_id, "approve", {"awaiting_input"})
    assert simulator.stats()["calls"] - calls == CHUNKS / 3
    assert simulator.stats()["repeated_answers"] == 0
    assert DEAD_KEY not in airflow.api.log(DAG, run_id, "generate", 1)

    airflow.decide(DAG, run_id, "Reject")
    assert airflow.wait(DAG, run_id) == "success"
    assert airflow.states(DAG, run_id)["publish"] == "skipped" and len(events(airflow)) == published


@pytest.mark.long
def test_the_chunks_of_a_dead_key_move_to_healthy_keys(
    airflow: Airflow, simulator: RunningSimulator, conf: dict[str, JsonValue]
) -> None:
    airflow.put_key("test_k3", simulator.url, DEAD_KEY)
    # Other cache keys, so that no answer is reused.
    changed_prompt: dict[str, JsonValue] = {**GENERATION, "temperature": 0.7, "pairs_per_type": 2}
    run_id = airflow.run(DAG, {**conf, "generation": changed_prompt}, wait=False)
    airflow.wait_for(DAG, run_id, "approve", {"awaiting_input"})
    states = airflow.states(DAG, run_id)
    assert [t for t, s in states.items() if s == "failed"] == [find(states, "generate [shard 3/3 · test_k3")]
    last_lines = airflow.api.log(DAG, run_id, "generate", 2).splitlines()[-6:]
    assert any("rejects the key" in line and "replace the key" in line for line in last_lines), last_lines
    # Usually, the other tasks answer the chunks while they run. If they have ended before, they run again.
    assert any("helped with" in t for t, s in states.items() if s == "success"), states
    run = airflow.folder(DAG, run_id)
    parts = [PartManifest.model_validate(read_json(manifest_path(run.part(n)))) for n in (1, 2, 3)]
    assert sum(parts[2].moved.values()) == parts[2].chunks == CHUNKS / 3
    assert {row["chunk_id"] for n in (1, 2, 3) for row in read_json(run.part(n))} == {
        chunk["chunk_id"] for chunk in read_jsonl(Path(str(conf["chunks"])))
    }
    assert states["validate"] == "success"
    airflow.put_key("test_k3", simulator.url, "test-key-3")
    airflow.decide(DAG, run_id, "Reject")
    airflow.wait(DAG, run_id)


def test_one_changed_chunk_costs_one_call_and_an_unchanged_dataset_is_not_published(
    airflow: Airflow, simulator: RunningSimulator, conf: dict[str, JsonValue]
) -> None:
    published = len(events(airflow))
    first = airflow.run(DAG, conf, wait=False)
    airflow.wait_for(DAG, first, "approve", {"awaiting_input"})
    airflow.decide(DAG, first, "Approve")
    assert airflow.wait(DAG, first) == "success", airflow.explain(DAG, first)
    assert len(events(airflow)) == published + 1

    calls = simulator.stats()["calls"]
    same = airflow.run(DAG, conf)
    assert airflow.states(DAG, same)["publish"] == "skipped"
    assert simulator.stats()["calls"] == calls and len(events(airflow)) == published + 1

    chunks = read_jsonl(Path(str(conf["chunks"])))
    chunks[0]["text"] += "\n③ 이 조항은 2026년 12월 1일부터 적용합니다."
    write_jsonl(Path(str(conf["chunks"])), chunks)
    changed = airflow.run(DAG, {**conf, "approve": False})
    assert simulator.stats()["calls"] == calls + 1, airflow.explain(DAG, changed)
    assert airflow.states(DAG, changed)["approve"] == "skipped"
    assert airflow.states(DAG, changed)["publish"] == "success" and len(events(airflow)) == published + 2
    settings = events(airflow)[-1]["extra"]["settings"]
    assert settings["dataset"].endswith("/dataset")
    assert (settings["chunks"], settings["questions"]) == (conf["chunks"], conf["questions"])


def test_the_backfill_on_the_page_has_one_run_per_monday(airflow: Airflow) -> None:
    (command,) = (step.commands for step in read_steps(SCHEDULE_PAGE) if step.commands.startswith("airflow backfill"))
    stack = AirflowStack(airflow.services.home, airflow.services.artifacts)
    listed = subprocess.run(
        [sys.executable, "-m", *shlex.split(command), "--dry-run"], env=stack.env, text=True, capture_output=True
    )
    assert listed.returncode == 0, listed.stderr
    # Monday 03:00 in Seoul is Sunday 18:00 in UTC. Dates in the future, such as the 29th in November 2026, have no run.
    assert [f"2026-11-{day:02d} 18:00" in listed.stdout for day in (1, 8, 15, 22)] == [True] * 4, listed.stdout
