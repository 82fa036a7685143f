"""The trigger form: every setting as a documented field, with the same limits as the configuration."""

from __future__ import annotations

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError
from pydantic import JsonValue

from insurance_rag.config import Config, RunConfig
from insurance_rag.config.run import OVERRIDES
from insurance_rag.orchestration import settings
from insurance_rag.orchestration.form_fields import form_fields
from insurance_rag.orchestration.form_values import run_settings
from insurance_rag.orchestration.params import trigger_params


@pytest.fixture
def form() -> dict[str, Param]:
    """The form of `finetune_pipeline`, which has all settings but one."""
    return trigger_params(settings.FINETUNE_FIELDS, settings.FINETUNE_SECTIONS, defaults={"keys": ["gemini_k1"]})


def leaves(model: type[Config], prefix: str = "") -> set[str]:
    """Return the dotted names of all settings of a configuration."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        nested = (OVERRIDES.get(name) if model is RunConfig else None) or field.annotation
        if isinstance(nested, type) and issubclass(nested, Config):
            found |= leaves(nested, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_every_setting_is_a_documented_field_and_none_is_required(form: dict[str, Param]) -> None:
    expected = leaves(RunConfig) - {"training.version", "training.prompt_format"}  # the form has the field `versions`
    assert set(form_fields()) == expected
    assert set(form) == expected - {"approve"}
    for name, param in form.items():
        assert "null" in param.schema["type"], f"{name}: the form would mark it as required"
        assert param.schema["type"] != ["object", "null"], f"{name}: the form would show a JSON editor"
        text = param.schema["description_md"].replace("\\", "")
        assert text.endswith(f"*{name}*") and len(text) > 20 + len(name)
        assert "`" not in text, f"{name}: the form would show boxes that cover the text"
        assert param.schema["title"]
        param.resolve()
        param.resolve(None)


def test_ten_settings_are_open_and_the_others_are_in_named_sections(form: dict[str, Param]) -> None:
    opened = [name for name, param in form.items() if "section" not in param.schema]
    assert opened == list(form)[:10] == list(settings.FINETUNE_FIELDS)
    assert form["registry"].schema["section"] == "More settings"
    assert form["generation.max_retries"].schema["section"] == "Generation"
    assert form["validation.dataset.seed"].schema["section"] == "Validation: dataset"
    assert form["evaluation.retrieval.kind"].schema["section"] == "Evaluation: retrieval"
    assert form["evaluation.decoding.temperature"].schema["section"] == "Evaluation: decoding"
    assert {"Documents to chunks", "Questions", "Training", "Promotion"} <= {
        param.schema.get("section") for param in form.values()
    }


def test_choices_limits_and_lists(form: dict[str, Param]) -> None:
    assert form["profile"].schema["enum"] == ["smoke", "default", "reference", None]
    assert form["training.fsdp"].schema["enum"] == ["true", "false", None]
    assert form["versions"].schema["examples"] == ["v1", "v2", "v3", "v4"]
    assert (form["question_limit"].schema["type"], form["question_limit"].schema["minimum"]) == (["integer", "null"], 1)
    assert "More than 0; default: 60.0." in form["generation.timeout_s"].schema["description_md"]
    assert form["generation.chunks_per_call"].schema["examples"] == ["auto"]
    assert form["validation.dataset.distractors"].value == "2, 4"
    assert "One *name: value* per line" in form["promotion.margins"].schema["description_md"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("profile", "fast"),
        ("question_limit", 0),
        ("versions", ["v9"]),
        ("versions", []),
        ("seeds", 0),
        ("generation.teacher", "x"),
        ("evaluation.retrieval.top_k", 21),
        ("generation.timeout_s", 0),
    ],
)
def test_the_form_rejects_what_the_configuration_rejects(form: dict[str, Param], name: str, value: JsonValue) -> None:
    with pytest.raises(ParamValidationError):
        form[name].resolve(value)


@pytest.mark.parametrize("dag", ["FINETUNE", "REFRESH", "QUESTION", "EVALUATE"])
def test_an_untouched_form_gives_the_defaults(dag: str) -> None:
    form = trigger_params(getattr(settings, f"{dag}_FIELDS"), getattr(settings, f"{dag}_SECTIONS"))
    values: dict[str, JsonValue] = {name: param.resolve() for name, param in form.items()}
    assert RunConfig.parse(run_settings(values, values)) == RunConfig()
    assert RunConfig.parse(run_settings({}, values)) == RunConfig()
    assert (
        RunConfig.parse(run_settings(dict.fromkeys(values), values)).model_copy(
            update={"question_limit": 60}  # an emptied field means all questions
        )
        == RunConfig()
    )
