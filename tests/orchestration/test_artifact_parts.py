"""Tasks work on the artifacts that their run names, wherever the artifact root is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from airflow.sdk import Context
from airflow.sdk.execution_time.context import set_current_context
from tests.artifact_store.conftest import Store

from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.records.run import RunArtifact
from insurance_rag.orchestration.artifact_parts import with_artifacts
from insurance_rag.orchestration.assets import published_dataset
from insurance_rag.orchestration.run_inputs import open_run
from insurance_rag.orchestration.runs import artifact_root, run_folder


def run_task(function: Callable[[], object]) -> object:
    """Call a function as a task of the run dag/run does."""
    context = cast(Context, {"dag_run": SimpleNamespace(dag_id="dag", run_id="run")})
    with set_current_context(context):
        return with_artifacts(function)()


def test_a_registry_in_a_store_is_fetched_and_published_also_with_a_local_root(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    store.put("registry/champion.json", b'{"model": "v1"}')
    store.put("earlier/run/dataset/report.json", b"{}")
    run = run_folder("dag", "run").create()
    write_json(run.config, RunConfig(registry=store.uri("registry")).model_dump(mode="json"))
    facts = {"sha256": "0", "rows": 1, "data_sha256": "0", "run": "r", "chunks": "sample", "documents": []}
    write_json(artifact_root() / "published" / "qa_dataset.json", {"uri": store.uri("earlier/run/dataset"), **facts})

    def promote() -> None:
        published = published_dataset()
        assert published and (Path(published.uri) / "report.json").is_file()
        _, config = open_run(RunArtifact(uri=str(run.root), sha256="0", rows=1, questions=1))
        champion = Path(config.registry or "") / "champion.json"
        assert json.loads(champion.read_text()) == {"model": "v1"}
        write_json(champion, {"model": "v2"})

    run_task(promote)
    assert json.loads(store.get("registry/champion.json")) == {"model": "v2"}
    assert store.listed() == ["earlier/run/dataset/report.json", "registry/champion.json"]


def test_a_damaged_file_of_a_published_dataset_is_reported_by_the_task_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    path = artifact_root() / "published" / "qa_dataset.json"
    path.parent.mkdir()
    path.write_text("{")
    assert run_task(lambda: "done") == "done"
    with pytest.raises(InvalidInputError, match=r"qa_dataset\.json"):
        run_task(published_dataset)
