"""The lineage of models and decisions, from the files that training, evaluation and the gate write."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.sdk import AssetOrTimeSchedule
from tests.fakes.openlineage import facet_problems
from tests.fakes.training_manifest import training_manifest

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifacts import describe
from insurance_rag.core.files import write_json
from insurance_rag.core.records import AdapterArtifact, Artifact, DecisionArtifact, EvaluationArtifact
from insurance_rag.core.records.promotion import Decision
from insurance_rag.core.records.statistics import Rate
from insurance_rag.orchestration.assets import ADAPTERS, DECISION
from insurance_rag.orchestration.gpu_job import LocalJobOperator
from insurance_rag.orchestration.lineage import lineage_of
from insurance_rag.orchestration.openlineage_facets import dataset_name, operator_lineage
from insurance_rag.orchestration.settings import refresh_schedule, watched_inlets

RATE = Rate(count=7, n=10, rate=0.7, low=0.4, high=0.9)


def names(datasets: object) -> set[tuple[str, str]]:
    return {(dataset.namespace, dataset.name) for dataset in datasets}  # type: ignore[attr-defined]


def test_an_adapter_rests_on_its_dataset_and_base_model(tmp_path: Path) -> None:
    manifest = training_manifest(base_model="google/gemma-3-270m", base_revision="abc")
    write_json(AdapterFolder(tmp_path).manifest, manifest.model_dump(mode="json"))
    facts = manifest.model_dump(include=set(AdapterArtifact.model_fields)) | {"rows": 456}
    trained = describe(tmp_path, AdapterArtifact, **facts)

    operator = LocalJobOperator(task_id="train", arguments=["train", "--dataset", "/run/dataset"], outlets=[ADAPTERS])
    operator.report_job(trained.model_dump(mode="json"))
    found = operator.get_openlineage_facets_on_complete(None)
    assert names(found.inputs) == {("file", "/run/dataset"), ("https://huggingface.co", "google/gemma-3-270m")}
    assert names(found.outputs) == {("file", str(tmp_path)), dataset_name(ADAPTERS.uri)}
    model = found.outputs[0].facets["insuranceRag_model"]
    assert (model.recipe, model.loss, model.baseRevision, model.peakGib) == ("v2", 1.13, "abc", 1.2)
    assert found.outputs[0].facets["version"].datasetVersion == trained.sha256
    assert not facet_problems(found)


def test_a_decision_rests_on_the_answers_of_the_adapters(tmp_path: Path) -> None:
    adapter = Artifact(uri="/run/adapters/v2", sha256="1" * 64)
    (tmp_path / "answers.jsonl").write_text("")
    rates = {"Base": RATE, "v2": RATE.model_copy(update={"rate": None})}
    evaluation = describe(
        tmp_path / "answers.jsonl", EvaluationArtifact, rows=20, questions=10, correct=rates, hallucination=rates,
        notes=[], parents=[adapter],
    )  # fmt: skip
    arguments = ["evaluate", "--questions", "/q.jsonl", "--chunks", "/c.jsonl", "--base-model", "/base"]
    evaluated = operator_lineage(lineage_of(evaluation, arguments))
    assert names(evaluated.inputs) == {("file", path) for path in ("/run/adapters/v2", "/q.jsonl", "/c.jsonl", "/base")}
    assert evaluated.outputs[0].facets["insuranceRag_evaluation"].correct == {"Base": 0.7}

    decision = Decision(
        decision="refuse", model="v2", champion="Base", reason="no better", more_questions=None, rules=[],
        challengers={}, evaluation=str(tmp_path), policy={}, answers_sha256=evaluation.sha256, question_set="0",
        earlier_decisions=None, confidence=0.95,
    )  # fmt: skip
    write_json(tmp_path / "decision.json", decision.model_dump(mode="json"))
    facts = decision.model_dump(include={"decision", "model", "champion", "reason"})
    made = describe(tmp_path / "decision.json", DecisionArtifact, **facts)
    decided: OperatorLineage = operator_lineage(lineage_of(made), outlets=[DECISION])
    assert names(decided.inputs) == names(evaluated.outputs)
    assert decided.outputs[0].facets["insuranceRag_decision"].decision == "refuse"
    assert not facet_problems(evaluated) and not facet_problems(decided)


def test_the_documents_have_one_asset_with_one_watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow stores the watcher of whichever asset with this name it has parsed last."""
    monkeypatch.setenv("DOCUMENTS", f"{tmp_path}")
    (inlet,), schedule = watched_inlets(), refresh_schedule()
    assert isinstance(schedule, AssetOrTimeSchedule)
    (watched,) = schedule.asset_condition.objects
    assert inlet.uri == watched.uri == f"file://{tmp_path}"
    assert [w.trigger.serialize() for w in inlet.watchers] == [w.trigger.serialize() for w in watched.watchers] != []
    monkeypatch.setenv("DOCUMENTS", "s3://aws_default@bucket/policies")
    assert watched_inlets()[0].uri == "s3://bucket/policies"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/약관 1.jsonl", ("file", "/data/약관 1.jsonl")),
        ("file:///data/a.json", ("file", "/data/a.json")),
        ("s3://bucket/run/parts/1.json", ("s3://bucket", "run/parts/1.json")),
        ("s3://aws_default@bucket/policies", ("s3://bucket", "policies")),
        ("gs://bucket", ("gs://bucket", "/")),
    ],
)
def test_names_follow_openlineage(uri: str, expected: tuple[str, str]) -> None:
    assert dataset_name(uri) == expected


def test_an_object_is_named_by_its_uri_and_not_by_its_local_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACT_SCRATCH", str(tmp_path))
    assert dataset_name(str(tmp_path / "s3" / "bucket" / "a" / "b.json")) == ("s3://bucket", "a/b.json")
