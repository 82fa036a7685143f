from __future__ import annotations

import pickle

import pytest

from insurance_rag.config import GenerationConfig, RunConfig
from insurance_rag.core.config_base import parse_settings
from insurance_rag.core.errors import InvalidInputError


def test_all_problems_at_once_with_a_suggestion() -> None:
    with pytest.raises(InvalidInputError) as caught:
        GenerationConfig.parse({"teachr": "gemini", "temperature": 9, "max_retries": "many"}, "recipe.yaml")
    problems = caught.value.problems
    assert len(problems) == 3
    assert any("teachr" in p and "did you mean 'teacher'" in p for p in problems)
    assert all(p.startswith("recipe.yaml: ") for p in problems)
    assert "3 problems" in str(caught.value)


def test_a_key_like_no_other_gets_the_list() -> None:
    with pytest.raises(InvalidInputError, match="known keys: teacher"):
        GenerationConfig.parse({"zzz": 1})


def test_nested_settings_and_their_types() -> None:
    assert parse_settings(["lora.r=8", "lora.dropout=0.1", "resume=true", "name=가"]) == {
        "lora": {"r": 8, "dropout": 0.1},
        "resume": True,
        "name": "가",
    }
    with pytest.raises(InvalidInputError, match="not of the form key=value"):
        parse_settings(["r8"])


def test_the_defaults_are_the_embedded_demo() -> None:
    config = RunConfig()
    assert (config.chunks, config.base_model, config.versions) == ("sample", "demo", ("v1", "v2"))
    assert RunConfig.parse(config.model_dump(mode="json")) == config


def test_wrong_input_survives_a_process_border() -> None:
    error = pickle.loads(pickle.dumps(InvalidInputError(["a", "b"])))
    assert error.problems == ["a", "b"]


def test_a_batch_has_no_budget() -> None:
    with pytest.raises(InvalidInputError, match="budget_usd cannot stop a batch"):
        GenerationConfig.parse({"batch": True, "budget_usd": 1})


def test_settings_are_shown_as_the_command_line_takes_them() -> None:
    words = RunConfig.parse({"validation": {"max_rank": 5, "dataset": {"seed": 3}}}).validation.as_settings()
    assert words == ["--set=max_rank=5", "--set=dataset.seed=3"]
    assert parse_settings(word.removeprefix("--set=") for word in words) == {"max_rank": 5, "dataset": {"seed": 3}}


@pytest.mark.parametrize("words", [["stop_strings=[a"], ["lora=1", "lora.r=8"]])
def test_settings_that_cannot_be_read_are_wrong_input(words: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="--set"):
        parse_settings(words)
