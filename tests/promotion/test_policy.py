"""The policy file: defaults, merging, and one error that lists every problem."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from insurance_rag.config import PromotionConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.promotion.policy import DEFAULT_POLICY, load_policy


def test_the_default_file_has_every_setting_with_its_default() -> None:
    assert load_policy() == PromotionConfig()
    settings = yaml.safe_load(DEFAULT_POLICY.read_text("utf-8"))
    assert list(settings) == list(PromotionConfig.model_fields)
    assert settings == PromotionConfig().model_dump(mode="json")


def test_a_file_and_settings_replace_only_what_they_name(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("margins: {hallucination: 0.02}\nlimits: {empty: null}\npower: 0.9\n")
    policy = load_policy(path, {"margins": {"false_refusal": 0.2}, "power": 0.7})
    assert policy.margins == {**PromotionConfig().margins, "hallucination": 0.02, "false_refusal": 0.2}
    assert policy.limits == {**PromotionConfig().limits, "empty": None}
    assert policy.power == 0.7


def test_every_problem_of_a_file_is_listed_with_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "marign: 1\nmetric: korrect\nmargins: {haluc: 0.1, correct: 2}\nlimits: {emtpy: 0.1, empty: -1}\n"
        "min_questions: many\nrepeated_looks: ignore\n"
    )
    with pytest.raises(InvalidInputError) as error:
        load_policy(path)
    problems = error.value.problems
    assert all(problem.startswith(f"{path}: ") for problem in problems)
    keys = [problem.removeprefix(f"{path}: ").split(": ")[0] for problem in problems]
    assert sorted(keys) == [
        "limits.empty", "limits.emtpy", "margins.correct", "margins.haluc", "marign", "metric", "min_questions",
        "repeated_looks",
    ]  # fmt: skip
    text = "\n".join(problems)
    assert "marign: unknown key; did you mean 'margins'?" in text
    assert "limits.emtpy: unknown metric 'emtpy'; did you mean 'empty'?" in text


@pytest.mark.parametrize("text", ["[", "- 1", "just text", ""])
def test_a_file_that_is_no_mapping_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=r"policy.yaml: (cannot be read as YAML|not a mapping)"):
        load_policy(path)
    with pytest.raises(InvalidInputError, match=r"missing.yaml: cannot be read"):
        load_policy(tmp_path / "missing.yaml")


def test_a_repeated_key_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("margins: {hallucination: 0.02}\npower: 0.9\nmargins: {hallucination: 0.5}\n")
    with pytest.raises(InvalidInputError, match=r"policy.yaml: line 3: duplicate key 'margins'"):
        load_policy(path)


def test_without_an_improvement_the_metric_needs_a_margin() -> None:
    with pytest.raises(InvalidInputError, match="no margin for correct, but must_improve is false"):
        PromotionConfig.parse({"must_improve": False, "margins": {"correct": None}})
