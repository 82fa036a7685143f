"""The tasks around training and evaluation: each works on the results of the task before it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException
from jinja2 import Environment, StrictUndefined
from pydantic import JsonValue

from insurance_rag.cli import evaluate as evaluate_command
from insurance_rag.config import RunConfig, RunEvaluationConfig
from insurance_rag.core.config_base import parse_settings
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.files import write_json
from insurance_rag.core.records import AdapterArtifact, AdapterVersion, DatasetArtifact, ValidationReport
from insurance_rag.core.records.run import BaseModelArtifact, RunArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.assets import QA_DATASET
from insurance_rag.orchestration.commands import evaluate_argv, train_argv
from insurance_rag.orchestration.run_inputs import event_settings
from insurance_rag.orchestration.settings import TRAIN_LABEL
from insurance_rag.training import load_recipe
from insurance_rag.validation import validate_run as validation


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    return RunFolder(tmp_path / "finetune_pipeline" / "run").create()


def start(folder: RunFolder, config: RunConfig) -> RunArtifact:
    """Store the configuration like `check_input` and return its result."""
    write_json(folder.config, config.model_dump(mode="json"))
    return RunArtifact(uri=str(folder.root), sha256="0", rows=3, questions=2)


def dataset(folder: RunFolder, data_sha256: str = "rows") -> DatasetArtifact:
    return DatasetArtifact(uri=str(folder.dataset), sha256="0", rows=9, kept=8, files={}, data_sha256=data_sha256)


def adapter(version: AdapterVersion, uri: str, seed: int = 42) -> AdapterArtifact:
    return AdapterArtifact(
        uri=uri,
        sha256="0",
        version=version,
        recipe=version,
        seed=seed,
        prompt_format="rag",
        rows=8,
        steps=12,
        loss=1.0,
        eval_loss=None,
        tokens_per_s=1,
        peak_gib=0.1,
        seconds=1.0,
    )


def test_training_uses_the_dataset_and_the_trained_base_model(folder: RunFolder) -> None:
    config = RunConfig(training={"max_steps": 12, "lora": {"r": 8}, "eval_steps": None})
    run = start(folder, config)
    (pretraining,) = tasks.pretrain_jobs(run)
    base_model = BaseModelArtifact(uri="/elsewhere/base", sha256="1")
    jobs = tasks.training_jobs(run, dataset(folder), [base_model])
    assert [job.recipe for job in jobs] == ["v1", "v2"]
    assert {job.base_model for job in jobs} == {"/elsewhere/base"} and pretraining.uri == str(folder.base_model)
    assert {job.dataset for job in jobs} == {str(folder.dataset)}
    assert jobs[1].uri == str(folder.adapters / "demo-insurance-lora-v2")
    assert jobs[0].settings == ["profile=smoke", "max_steps=12", 'lora={"r": 8}', "eval_steps=null"]


def test_every_seed_is_a_job_of_its_own(folder: RunFolder) -> None:
    run = start(folder, RunConfig(seeds=2, versions=("v1", "v2"), training={"seed": 7}))
    jobs = tasks.training_jobs(run, dataset(folder))
    root = folder.adapters / "demo-insurance-lora-v2"
    assert [(job.recipe, job.settings[-1]) for job in jobs] == [
        ("v1", "seed=7"), ("v1", "seed=8"), ("v2", "seed=7"), ("v2", "seed=8"),
    ]  # fmt: skip
    assert [job.uri for job in jobs[2:]] == [str(root / "seed-7"), str(root / "seed-8")]
    assert [load_recipe(job.recipe, parse_settings(job.settings)).seed for job in jobs] == [7, 8, 7, 8]
    label = Environment(undefined=StrictUndefined).from_string(TRAIN_LABEL)
    shown = [label.render(task={"arguments": train_argv(job)}) for job in jobs]
    (one, *_) = tasks.training_jobs(start(folder, RunConfig()), dataset(folder))
    assert [*shown, label.render(task={"arguments": train_argv(one)})] == ["v1-s7", "v1-s8", "v2-s7", "v2-s8", "v1"]


def test_the_evaluation_names_adapters_after_their_seed(folder: RunFolder) -> None:
    run = start(folder, RunConfig(seeds=2))
    trained = [adapter("v2", "/a/v2/seed-9", 9), adapter("v2", "/a/v2/seed-10", 10), adapter("v1", "/a/v1/seed-9", 9)]
    (job,) = tasks.evaluation_jobs(run, trained)
    assert list(job.adapters.items()) == [
        ("v1-s9", "/a/v1/seed-9"), ("v2-s9", "/a/v2/seed-9"), ("v2-s10", "/a/v2/seed-10"),
    ]  # fmt: skip


def test_without_a_demo_base_model_nothing_is_pretrained(folder: RunFolder) -> None:
    run = start(folder, RunConfig(base_model="beomi/Llama-3-Open-Ko-8B", versions=("v3",)))
    assert tasks.pretrain_jobs(run) == []
    (job,) = tasks.training_jobs(run, dataset(folder))
    assert job.base_model == "beomi/Llama-3-Open-Ko-8B"
    assert job.uri == str(folder.adapters / "llama-3-ko-insurance-lora-v3")


def test_the_evaluation_compares_the_trained_adapters_in_any_order(folder: RunFolder) -> None:
    run = start(folder, RunConfig(question_limit=8))
    trained = [adapter("v2", "/a/v2"), adapter("v1", "/a/v1")]
    (job,) = tasks.evaluation_jobs(run, trained, [BaseModelArtifact(uri="/base", sha256="1")])
    assert list(job.adapters.items()) == [("v1", "/a/v1"), ("v2", "/a/v2")]
    assert (job.base_model, job.limit) == ("/base", 8)


def test_the_evaluation_compares_the_adapters_that_the_run_names(folder: RunFolder) -> None:
    nested = {"prompt": "both", "retrieval": {"top_k": 5}, "decoding": {"stop_strings": ["###"]}, "judge": "m@http://j"}
    settings = RunConfig(
        base_model="a/model",
        adapters={"mine": "/a/mine"},
        question_limit=None,
        evaluation=RunEvaluationConfig.model_validate(nested),
    )
    (job,) = tasks.evaluation_jobs(start(folder, settings))
    assert job.adapters == {"mine": "/a/mine"} and job.base_model == "a/model" and job.limit is None
    argv = evaluate_argv(job)
    assert argv[argv.index("--adapter") + 1] == "mine=/a/mine"
    parser = argparse.ArgumentParser()
    evaluate_command.add_arguments(parser)
    shared = evaluate_command.read_shared_arguments(
        parser.parse_args([*argv[1:], "--questions", "sample", "--chunks", "sample"])
    )
    assert (shared.config.prompt, shared.config.retrieval.top_k, shared.config.judge) == ("both", 5, "m@http://j")
    assert shared.decoding == {"stop_strings": ["###"]}


def test_a_dataset_is_published_once_and_its_event_has_the_settings_of_the_next_run(folder: RunFolder) -> None:
    @dataclass
    class Event:
        extra: dict[str, JsonValue] = field(default_factory=dict)

    run = start(folder, RunConfig())
    new = dataset(folder)
    assert tasks.dataset_changed(new)
    event = Event()
    published = tasks.publish(run, new, {QA_DATASET: event})
    assert (published.uri, published.run) == (str(folder.dataset), run.uri)
    assert event.extra["settings"] == {
        "documents": [],
        "make_questions": False,
        "dataset": str(folder.dataset),
        "chunks": "sample",
        "questions": "sample",
    }
    assert not tasks.dataset_changed(new)
    assert tasks.dataset_changed(dataset(folder, "other rows"))
    assert not tasks.dataset_changed(dataset(folder, "other rows").model_copy(update={"complete": False}))
    assert event_settings(None) == {}


def test_an_existing_dataset_is_described_by_its_report(folder: RunFolder, tmp_path: Path) -> None:
    existing = tmp_path / "existing"
    existing.mkdir()
    report = ValidationReport.model_validate(
        {
            "rows": 9,
            "kept": 8,
            "drops": {"duplicate": 1},
            "by_shard": {},
            "by_type": {},
            "files": {"train_dataset.json": 8},
            "lineage": {"data_sha256": "rows"},
        }
    )
    write_json(existing / "report.json", report.model_dump(mode="json"))
    found = tasks.validate(start(folder, RunConfig(dataset=str(existing))))
    assert (found.uri, found.rows, found.kept, found.data_sha256) == (str(existing), 9, 8, "rows")


def test_missing_answers_fail_without_a_retry_and_say_what_to_clear(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def incomplete(*args: object, **options: object) -> None:
        raise IncompleteError("3 chunks have no answer yet")

    monkeypatch.setattr(validation, "validate_run", incomplete)
    with pytest.raises(AirflowFailException, match=r"(?s)3 chunks have no answer yet.*Clear only failed"):
        tasks.validate(start(folder, RunConfig()))
    with pytest.raises(AirflowFailException, match="check_input did not succeed"):
        tasks.validate(None)
