"""The generation task in batch mode: submit, free the worker slot, poll, read the answers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig, RunConfig
from insurance_rag.core.artifacts import describe
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.generation import PartArtifact
from insurance_rag.core.records.run import ShardArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.generate_operator import GenerateOperator
from insurance_rag.planning import make_plan, write_plan

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
