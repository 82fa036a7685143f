"""What a run is refused for before it costs anything, and what its form starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.orchestration.preflight import check_registry, validate_run_config
from insurance_rag.orchestration.settings import form_defaults


def test_a_comparison_asks_for_adapters_and_their_base_and_not_for_keys(tmp_path: Path) -> None:
    problems = "\n".join(validate_run_config(RunConfig(), generates=False))
    assert "adapters: none given" in problems and "base_model: `demo` is made by finetune_pipeline" in problems
    assert "keys" not in problems
    (problem,) = validate_run_config(RunConfig(adapters={"v2": str(tmp_path)}, base_model="a/model"), generates=False)
    assert problem.startswith(f"adapters: v2: {tmp_path} holds no adapter_config.json")
    (tmp_path / "adapter_config.json").touch()
    assert validate_run_config(RunConfig(adapters={"v2": str(tmp_path)}, base_model="a/model"), generates=False) == []


def test_a_finished_dataset_needs_no_keys_but_has_to_be_there(tmp_path: Path) -> None:
    (problem,) = validate_run_config(RunConfig(dataset=str(tmp_path)))
    assert problem == f"dataset: {tmp_path} holds no report.json; give a folder that `validate` wrote"
    (tmp_path / "report.json").touch()
    assert validate_run_config(RunConfig(dataset=str(tmp_path))) == []


def test_a_champion_is_only_held_against_adapters_of_its_base_model(tmp_path: Path) -> None:
    write_json(tmp_path / "champion.json", {"sha256": "0", "base_model": "a/model"})
    with pytest.raises(InvalidInputError, match="belongs to the base model a/model, this run to b/model"):
        check_registry(RunConfig(base_model="b/model", registry=str(tmp_path)))
    with pytest.raises(InvalidInputError, match="`demo` is another base model in every run"):
        check_registry(RunConfig(registry=str(tmp_path)))
    check_registry(RunConfig(base_model="a/model", registry=str(tmp_path)))
    check_registry(RunConfig(base_model="b/model", registry=str(tmp_path / "new")))


def test_forms_and_scheduled_runs_start_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_CONNECTIONS", "a, b")
    for name in ("CLAUSES", "QUESTIONS", "BASE_MODEL", "TRAINING_PROFILE", "REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    assert form_defaults() == {"keys": ["a", "b"]}
    monkeypatch.setenv("CLAUSES", "/data/clauses.jsonl")
    monkeypatch.setenv("BASE_MODEL", "")  # as compose hands on what is not set
    assert form_defaults() == {"keys": ["a", "b"], "chunks": "/data/clauses.jsonl"}
