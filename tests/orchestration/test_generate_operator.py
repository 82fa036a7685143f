"""The generation task: batch mode without a worker slot, and the task's label."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from airflow.sdk import DAG, Context
from airflow.sdk.exceptions import TaskDeferred

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig, RunConfig
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import KeyRejectedError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.generation import PartArtifact
from insurance_rag.core.records.run import ShardArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.generate_operator import GenerateOperator
from insurance_rag.orchestration.settings import DAG_DEFAULTS, GENERATE
from insurance_rag.planning import make_plan, read_plan, write_plan

CHUNKS = 5
SECRET = "planted-batch-key"


def test_a_batch_waits_without_a_worker_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_simulator(batch_s=20, speed=20, defects=0) as simulator:
        connection = {"conn_type": "gemini", "host": simulator.url, "password": SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_BATCH_KEY", json.dumps(connection))
        generation = GenerationConfig(batch=True, batch_poll_s=7, quota_window_s=simulator.window_s)
        run = RunFolder(tmp_path / "run").create()
        write_json(run.config, RunConfig(keys=("batch_key",), generation=generation).model_dump(mode="json"))
        chunks = read_chunks("sample")[:CHUNKS]
        key = ApiKey.model_validate({"id": "batch_key", "key": SECRET})
        plan = write_plan(make_plan(chunks, [key], generation), run, chunks)
        shard = describe(
            run.plan, ShardArtifact, run=str(run.root), shard=1, key_id="batch_key", label="shard 1/1", rows=CHUNKS
        )
        operator = GenerateOperator(task_id="generate", shard=shard.model_dump(mode="json"))

        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(Context())
        assert deferred.value.method_name == "resume_batch"
        assert SECRET not in json.dumps([deferred.value.kwargs, deferred.value.trigger.serialize()], default=str)

        result = None
        while result is None:
            try:
                result = PartArtifact.model_validate(operator.resume_batch(Context(), **(deferred.value.kwargs or {})))
            except TaskDeferred as again:
                assert again.method_name == "resume_batch"
                time.sleep(0.2)
        assert result.shard == 1 and result.chunks == CHUNKS == plan.chunks
        assert len({row["chunk_id"] for row in read_json(run.part(1))}) == CHUNKS
        assert simulator.stats()["repeated_answers"] == 0


def test_the_label_says_which_chunks_moved_between_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"live": "planted-live-key", "dead": "planted-dead-key"}
    with running_simulator(speed=600, defects=0, key_states={secrets["dead"]: "invalid"}) as simulator:
        for name, secret in secrets.items():
            connection = {"conn_type": "gemini", "host": simulator.url, "password": secret}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        generation = GenerationConfig(quota_window_s=simulator.window_s)
        run = RunFolder(tmp_path / "run").create()
        write_json(run.config, RunConfig(keys=tuple(secrets), generation=generation).model_dump(mode="json"))
        chunks = read_chunks("sample")[:CHUNKS]
        keys = [ApiKey.model_validate({"id": name, "key": secret}) for name, secret in secrets.items()]
        write_plan(make_plan(chunks, keys, generation), run, chunks)

        with pytest.raises(KeyRejectedError):
            run_task(run, 2, dead := Context())
        assert label(dead) == "shard 2/2 · dead · 2 chunks left to other keys"
        run_task(run, 1, live := Context())
        assert label(live) == "shard 1/2 · live · helped with 2"
        run_task(run, 2, cleared := Context())
        assert label(cleared) == "shard 2/2 · dead · 2 chunks by other keys"


def run_task(run: RunFolder, shard: int, context: Context) -> None:
    """Run the task of one shard as Airflow does, with the label that it has before it is executed."""
    name = read_plan(run).shard(shard).label
    artifact = describe(run.plan, ShardArtifact, run=str(run.root), shard=shard, key_id=name[-4:], label=name, rows=1)
    operator = GenerateOperator(task_id="generate", shard=artifact.model_dump(mode="json"))
    context["task"] = operator
    assert label(context) == name
    operator.execute(context)


def label(context: Context) -> str:
    """Render the label of the task."""
    native = bool(DAG_DEFAULTS["render_template_as_native_obj"])
    environment = DAG("labels", schedule=None, render_template_as_native_obj=native).get_template_env()
    return str(environment.from_string(str(GENERATE["map_index_template"])).render(context))
