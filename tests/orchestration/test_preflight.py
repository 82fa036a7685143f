"""Problems that stop a run before it costs anything, and the defaults of its form."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.chunks import SAMPLE_CHUNKS
from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl
from insurance_rag.core.records.promotion import Champion
from insurance_rag.orchestration.preflight import check_gold_chunks, check_registry, validate_run_config
from insurance_rag.orchestration.settings import form_defaults


def test_a_comparison_needs_adapters_and_their_base_model_but_no_keys(tmp_path: Path) -> None:
    problems = "\n".join(validate_run_config(RunConfig(), generates=False))
    assert "adapters: none named" in problems and "base_model: only finetune_pipeline trains `demo`" in problems
    assert "keys" not in problems
    (problem,) = validate_run_config(RunConfig(adapters={"v2": str(tmp_path)}, base_model="a/model"), generates=False)
    assert problem.startswith(f"adapters: v2: {tmp_path} has no adapter_config.json")
    (tmp_path / "adapter_config.json").touch()
    assert validate_run_config(RunConfig(adapters={"v2": str(tmp_path)}, base_model="a/model"), generates=False) == []


def test_an_existing_dataset_needs_no_keys_but_must_be_validated(tmp_path: Path) -> None:
    (problem,) = validate_run_config(RunConfig(dataset=str(tmp_path)))
    assert problem == f"dataset: {tmp_path} has no report.json; give a folder that `validate` wrote"
    (tmp_path / "report.json").touch()
    assert validate_run_config(RunConfig(dataset=str(tmp_path))) == []


def test_questions_about_other_chunks_are_one_problem(tmp_path: Path) -> None:
    chunks = tmp_path / "chunks.jsonl"
    write_jsonl(chunks, read_jsonl(SAMPLE_CHUNKS)[:1])
    with pytest.raises(InvalidInputError) as error:
        check_gold_chunks(RunConfig(chunks=str(chunks)))
    (problem,) = error.value.problems
    assert f"a gold chunk is not in {chunks}; give the chunks that the questions were made from" in problem
    assert ", first at line " in problem


def write_champion(registry: Path, base_model: str) -> None:
    champion = Champion(
        model="v2",
        adapter="adapters/0",
        sha256="0",
        base_model=base_model,
        prompt_format="rag",
        evaluation="/evaluation",
        since="2026-11-25",
    )
    write_json(registry / "champion.json", champion.model_dump(mode="json"))


def test_a_champion_is_only_compared_with_adapters_of_its_base_model(tmp_path: Path) -> None:
    write_champion(tmp_path, base_model="a/model")
    with pytest.raises(InvalidInputError, match="was trained on the base model a/model, but this run uses b/model"):
        check_registry(RunConfig(base_model="b/model", registry=str(tmp_path)))
    with pytest.raises(InvalidInputError, match="`demo` is a different base model in every run"):
        check_registry(RunConfig(registry=str(tmp_path)))
    check_registry(RunConfig(base_model="a/model", registry=str(tmp_path)))
    check_registry(RunConfig(base_model="b/model", registry=str(tmp_path / "new")))


def test_the_environment_sets_the_defaults_of_forms_and_scheduled_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_CONNECTIONS", "a, b")
    for name in ("CHUNKS", "QUESTIONS", "BASE_MODEL", "TRAINING_PROFILE", "REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    assert form_defaults() == {"keys": ["a", "b"]}
    monkeypatch.setenv("CHUNKS", "/data/chunks.jsonl")
    monkeypatch.setenv("BASE_MODEL", "")  # docker compose passes an unset variable like this
    assert form_defaults() == {"keys": ["a", "b"], "chunks": "/data/chunks.jsonl"}


def test_an_invalid_promotion_policy_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("margins: {hallucinaton: 0.1}\nlimit: {}\n")
    problems = validate_run_config(RunConfig(dataset=str(tmp_path), policy=str(path)))
    assert any(
        p.startswith(f"{path}: margins.hallucinaton: unknown metric 'hallucinaton'; did you mean") for p in problems
    )
    assert any(p.startswith(f"{path}: limit: unknown key; did you mean 'limits'?") for p in problems)
    problems = validate_run_config(RunConfig(dataset=str(tmp_path), promotion={"limits": {"empty": 2}}))
    assert any(p.startswith("promotion: limits.empty: ") for p in problems)
