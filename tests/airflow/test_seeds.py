"""Several seeds per adapter in a real Airflow: one mapped task per seed, and recipes in the evaluation."""

from __future__ import annotations

import pytest
from tests.airflow.conftest import SMALL, Airflow

from insurance_rag.core.adapter_folder import AdapterFolder, seed_folder
from insurance_rag.core.files import read_json
from insurance_rag.core.records import EvaluationSummary

# two runs if no other test has started the first
pytestmark = [pytest.mark.airflow, pytest.mark.long, pytest.mark.timeout(900)]

DAG = "finetune_pipeline"


def test_every_seed_is_a_task_and_the_evaluation_groups_them(airflow: Airflow, finetune_run: str) -> None:
    """Train two seeds on the dataset and base model of the earlier run."""
    earlier = airflow.folder(DAG, finetune_run)
    paths = {"dataset": str(earlier.dataset), "base_model": str(earlier.base_model)}
    run_id = airflow.run(DAG, {**SMALL, **paths, "versions": ["v2"], "seeds": 2})
    assert airflow.api.run_state(DAG, run_id) == "success", airflow.explain(DAG, run_id)
    states = airflow.states(DAG, run_id)
    assert (states["train [v2-s42]"], states["train [v2-s43]"]) == ("success", "success")
    run = airflow.folder(DAG, run_id)
    adapter = run.adapter("v2", paths["base_model"])
    manifests = [AdapterFolder(seed_folder(adapter, seed)).read_manifest() for seed in (42, 43)]
    assert [manifest and (manifest.recipe, manifest.seed) for manifest in manifests] == [("v2", 42), ("v2", 43)]
    summary = EvaluationSummary.model_validate(read_json(run.evaluation / "summary.json"))
    assert (summary.recipes["v2"].adapters, summary.recipes["v2"].seeds) == (["v2-s42", "v2-s43"], [42, 43])
    assert 'id="seeds"' in run.report.read_text()
