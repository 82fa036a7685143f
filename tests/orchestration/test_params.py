"""The trigger form: every field of the configuration, typed, with the same rules as the server's."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import ParamValidationError
from pydantic import JsonValue

from insurance_rag.config import GenerationConfig, PromotionConfig, RunConfig, TrainingConfig
from insurance_rag.orchestration.params import trigger_params

EDITORS = ("adapters", "generation", "validation", "training", "promotion")


def test_every_field_is_in_the_form_with_its_documentation() -> None:
    form = trigger_params(RunConfig, defaults={"keys": ["gemini_k1"]})
    assert list(form) == list(RunConfig.model_fields)
    assert form["keys"].value == ["gemini_k1"]
    assert all(param.schema["description_md"] and param.schema["title"] for param in form.values())
    assert form["profile"].schema["enum"] == ["smoke", "default", "reference"]
    assert form["versions"].schema["examples"] == ["v1", "v2", "v3", "v4"]
    assert form["question_limit"].schema["type"] == ["integer", "null"]


def test_json_editors_document_their_fields_and_are_not_required() -> None:
    form = trigger_params(RunConfig, settings_of={"training": TrainingConfig, "promotion": PromotionConfig})
    for name in EDITORS:
        # The form marks a field as required unless its type includes null.
        assert form[name].schema["type"] == ["object", "null"], name
        assert form[name].schema["section"] == "More settings"
        form[name].resolve(None)
    documented = form["generation"].schema["description_md"]
    assert all(f"- `{name}` (" in documented or f"- `{name}." in documented for name in GenerationConfig.model_fields)
    assert "- `timeout_s` (number, more than 0, default 60.0): " in documented
    assert "- `dataset.seed` (integer, default 0): " in form["validation"].schema["description_md"]
    assert "- `lora.r` (integer, at least 1, default 16): " in form["training"].schema["description_md"]
    assert "- `min_questions` (integer, at least 1, default 200): " in form["promotion"].schema["description_md"]
    assert "`version`" not in form["training"].schema["description_md"]  # the form has a field of its own for it


def test_an_emptied_editor_means_the_defaults() -> None:
    config = RunConfig.parse(dict.fromkeys(EDITORS), "parameters")
    assert config == RunConfig()


def test_the_vital_parameters_come_first() -> None:
    assert list(trigger_params(RunConfig))[:5] == ["chunks", "keys", "base_model", "versions", "profile"]
    assert list(trigger_params(RunConfig, ("keys", "chunks"))) == ["keys", "chunks"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("profile", "fast"),
        ("question_limit", 0),
        ("versions", ["v9"]),
        ("versions", []),
        ("seeds", 0),
        ("generation", {"teacher": "x"}),
    ],
)
def test_the_form_rejects_what_the_configuration_rejects(name: str, value: JsonValue) -> None:
    with pytest.raises(ParamValidationError):
        trigger_params(RunConfig)[name].resolve(value)


def test_the_defaults_pass_their_own_form() -> None:
    form = trigger_params(RunConfig, defaults={"keys": ["gemini_k1"]})
    values = {name: param.resolve() for name, param in form.items()}
    assert RunConfig.parse(values).keys == ("gemini_k1",)
