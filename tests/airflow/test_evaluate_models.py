"""Adapters that exist against the registry's champion, in a real Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.airflow.conftest import Airflow

from insurance_rag.chunks import SAMPLE_QUESTIONS
from insurance_rag.core.files import read_json, read_jsonl, write_jsonl
from insurance_rag.promotion.registry import Registry

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(420)]

DAG = "evaluate_models"


def test_new_adapters_are_held_against_the_champion(airflow: Airflow, finetune_run: str, tmp_path: Path) -> None:
    trained = airflow.folder("finetune_pipeline", finetune_run)
    registry = Registry(tmp_path / "registry")
    verdict = {"decision": "promote", "model": "v1", "champion": "Base", "reason": "for the test", "evaluation": "none"}
    registry.record(verdict, read_json(trained.evaluation / "summary.json"))
    write_jsonl(tmp_path / "questions.jsonl", read_jsonl(SAMPLE_QUESTIONS)[:6])
    conf = {
        "base_model": str(trained.base_model),
        "adapters": {"v2": str(trained.adapter("v2"))},
        "questions": str(tmp_path / "questions.jsonl"),
        "question_limit": None,
        "registry": str(registry.root),
    }
    run_id = airflow.run(DAG, conf)
    assert airflow.api.run_state(DAG, run_id) == "success", airflow.explain(DAG, run_id)
    run = airflow.folder(DAG, run_id)
    assert list(read_json(run.evaluation / "summary.json")["models"]) == ["Base", "champion", "v2"]
    decision = read_json(run.evaluation / "decision.json")
    assert (decision["champion"], decision["model"]) == ("champion", "v2")
    assert [line["evaluation"] for line in read_jsonl(registry.root / "decisions.jsonl")] == [
        "none",
        str(run.evaluation),
    ]
    assert "<html" in run.report.read_text()


def test_a_champion_of_another_base_model_is_found_in_the_first_task(airflow: Airflow, tmp_path: Path) -> None:
    (tmp_path / "champion.json").write_text('{"sha256": "0", "base_model": "a/model"}')
    (tmp_path / "adapter_config.json").touch()
    conf = {"base_model": "b/model", "adapters": {"v2": str(tmp_path)}, "registry": str(tmp_path)}
    run_id = airflow.run(DAG, conf)
    assert airflow.states(DAG, run_id)["check_input"] == "failed"
    assert "belongs to the base model a/model, this run to b/model" in airflow.explain(DAG, run_id)
