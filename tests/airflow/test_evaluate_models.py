"""Existing adapters are compared with the champion of the model registry, in a real Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.airflow.conftest import Airflow

from insurance_rag.chunks import SAMPLE_QUESTIONS
from insurance_rag.core.files import read_json, read_jsonl, write_json, write_jsonl
from insurance_rag.core.records import EvaluationSummary
from insurance_rag.core.records.promotion import Champion, Decision
from insurance_rag.promotion.model_registry import ModelRegistry

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(420)]

DAG = "evaluate_models"


@pytest.mark.long
def test_new_adapters_are_compared_with_the_champion(airflow: Airflow, finetune_run: str, tmp_path: Path) -> None:
    trained = airflow.folder("finetune_pipeline", finetune_run)
    registry = ModelRegistry(tmp_path / "registry")
    decision = Decision(
        decision="promote",
        model="v1",
        champion="Base",
        reason="for the test",
        more_questions=None,
        rules=[],
        challengers={},
        evaluation="none",
        policy={},
        answers_sha256="0",
        question_set="0",
        earlier_decisions=0,
        confidence=0.95,
    )
    summary = EvaluationSummary.model_validate(read_json(trained.evaluation / "summary.json"))
    registry.record(decision, summary)
    write_jsonl(tmp_path / "questions.jsonl", read_jsonl(SAMPLE_QUESTIONS)[:6])
    conf: dict[str, JsonValue] = {
        "base_model": str(trained.base_model),
        "adapters": {"v2": str(trained.adapter("v2", "demo"))},
        "questions": str(tmp_path / "questions.jsonl"),
        "question_limit": None,
        "registry": str(registry.root),
    }
    run_id = airflow.run(DAG, conf)
    assert airflow.api.run_state(DAG, run_id) == "success", airflow.explain(DAG, run_id)
    run = airflow.folder(DAG, run_id)
    assert list(read_json(run.evaluation / "summary.json")["models"]) == ["Base", "champion", "v2"]
    result = Decision.model_validate(read_json(run.evaluation / "decision.json"))
    assert (result.champion, result.model) == ("champion", "v2")
    assert [line["evaluation"] for line in read_jsonl(registry.root / "decisions.jsonl")] == [
        "none",
        str(run.evaluation),
    ]
    assert "<html" in run.report.read_text()


def test_a_champion_of_another_base_model_fails_the_first_task(airflow: Airflow, tmp_path: Path) -> None:
    champion = Champion(
        model="v1",
        adapter="adapters/0",
        sha256="0",
        base_model="a/model",
        prompt_format="rag",
        evaluation="none",
        since="2026-11-25",
    )
    write_json(tmp_path / "champion.json", champion.model_dump(mode="json"))
    (tmp_path / "adapter_config.json").touch()
    conf: dict[str, JsonValue] = {"base_model": "b/model", "adapters": {"v2": str(tmp_path)}, "registry": str(tmp_path)}
    run_id = airflow.run(DAG, conf)
    assert airflow.states(DAG, run_id)["check_input"] == "failed"
    assert "was trained on the base model a/model, but this run uses b/model" in airflow.explain(DAG, run_id)
