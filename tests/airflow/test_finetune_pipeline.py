"""The whole pipeline in a real Airflow: mapped tasks, HTTP, NF4 training and evaluation, on the sample chunks."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import JsonValue
from tests.airflow.conftest import Airflow

from insurance_rag.core.files import read_json

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(420)]

DAG = "finetune_pipeline"


@pytest.fixture(scope="module")
def run_id(finetune_run: str) -> str:
    return finetune_run


def test_every_task_ran_and_the_shards_have_their_names(airflow: Airflow, run_id: str) -> None:
    states = airflow.states(DAG, run_id)
    assert {state for task, state in states.items() if not task.startswith("generate_redistributed")} == {"success"}
    for n in range(1, 8):  # the label may end with the chunks that other keys answered
        assert any(re.match(rf"generate \[shard {n}/7 · gemini_k{n}( · .+)?]$", task) for task in states), states
    assert {"train [v1]", "train [v2]"} <= set(states)


def test_the_adapters_and_the_comparison_exist(airflow: Airflow, run_id: str) -> None:
    run = airflow.folder(DAG, run_id)
    for version in ("v1", "v2"):
        names = {path.name for path in run.adapter(version, "demo").iterdir()}
        assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    for name in ("comparison_results.json", "comparison_results_v2.json", "summary.json", "answers.jsonl"):
        assert (run.evaluation / name).stat().st_size > 0
    assert set(read_json(run.evaluation / "summary.json")["models"]) == {"Base", "v1", "v2"}
    assert "<html" in run.report.read_text()


def test_xcom_contains_paths_and_never_data_or_a_key(airflow: Airflow, run_id: str) -> None:
    secrets = [value for name, value in airflow.services.settings.items() if name.startswith("gemini")]
    entries = airflow.api.call(
        "GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/~/xcomEntries", params={"limit": 1000}
    )
    assert entries["total_entries"] >= 15
    for entry in entries["xcom_entries"]:
        path = f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/{entry['task_id']}/xcomEntries/{entry['key']}"
        value = airflow.api.call("GET", path, params={"map_index": entry["map_index"]})["value"]
        text = json.dumps(value)
        assert len(text) < 20_000 and "제1조" not in json.dumps(value, ensure_ascii=False)
        assert not any(secret in text for secret in secrets)
        assert isinstance(value, (dict, list)) and all("uri" in item for item in _items(value))


def test_no_key_is_in_any_file_or_log_of_the_run(airflow: Airflow, run_id: str) -> None:
    secrets = [value.encode() for name, value in airflow.services.settings.items() if name.startswith("gemini")]
    home, artifacts = airflow.services.home, airflow.services.artifacts
    files = [p for root in (artifacts, home / "logs") for p in root.rglob("*") if p.is_file()]
    assert len(files) > 30
    assert [p for p in files if any(secret in p.read_bytes() for secret in secrets)] == []


def test_each_task_logs_its_command_line(airflow: Airflow, run_id: str) -> None:
    for task_id, map_index in (("plan", -1), ("generate", 0), ("validate", -1), ("train", 1), ("evaluate", 0)):
        log = airflow.api.log(DAG, run_id, task_id, map_index)
        assert "Equivalent command: " in log and "-m insurance_rag" in log, task_id


def _items(value: JsonValue) -> list[dict[str, JsonValue]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]
