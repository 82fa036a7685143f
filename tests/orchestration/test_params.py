"""The trigger form: every field of the configuration, typed, with the same judgement as the server's."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from insurance_rag.config import RunConfig
from insurance_rag.orchestration.params import trigger_params


def test_every_field_is_in_the_form_with_its_documentation() -> None:
    form = trigger_params(RunConfig, keys=["gemini_k1"])
    assert list(form) == list(RunConfig.model_fields)
    assert form["keys"].value == ["gemini_k1"]
    assert all(param.schema["description_md"] for name, param in form.items() if name not in ("generation", "training"))
    assert form["profile"].schema["enum"] == ["smoke", "default", "reference"]
    assert form["versions"].schema["examples"] == ["v1", "v2", "v3"]
    assert form["question_limit"].schema["type"] == ["integer", "null"]


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
        ("generation", {"teacher": "x"}),
    ],
)
def test_the_form_refuses_what_the_configuration_refuses(name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        trigger_params(RunConfig)[name].resolve(value)


def test_the_defaults_pass_their_own_form() -> None:
    form = trigger_params(RunConfig, keys=["gemini_k1"])
    values = {name: param.resolve() for name, param in form.items()}
    assert RunConfig.parse(values).keys == ("gemini_k1",)
