"""What the values of the form, and the JSON of a trigger request, mean for the run."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.orchestration import settings
from insurance_rag.orchestration.form_values import run_settings
from insurance_rag.orchestration.params import trigger_params

FORM: dict[str, JsonValue] = {
    name: param.resolve()
    for name, param in trigger_params(settings.FINETUNE_FIELDS, settings.FINETUNE_SECTIONS).items()
}


def parse(given: dict[str, JsonValue], event: dict[str, JsonValue] | None = None) -> RunConfig:
    return RunConfig.parse(run_settings(given, FORM, event), "parameters")


def test_the_form_and_nested_json_mean_the_same() -> None:
    flat: dict[str, JsonValue] = {
        **FORM,
        "generation.model": "m",
        "generation.chunks_per_call": "4",
        "validation.dataset.distractors": "1, 3",
        "validation.dataset.caps": "product: 0.3\ncompany: 0.5",
        "evaluation.prompt": "both",
        "evaluation.retrieval.kind": "hybrid",
        "evaluation.decoding.stop_strings": ["###", "", "\\n질문:"],
        "training.max_steps": 12,
        "training.fsdp": "false",
        "training.eval_steps": "none",
        "training.lora.r": 8,
        "training.lora.target_modules": "all-linear",
        "promotion.margins": "hallucination: 0.03",
        "adapters": "v2: /a/v2",
    }
    nested: dict[str, JsonValue] = {
        "generation": {"model": "m", "chunks_per_call": 4},
        "validation": {"dataset": {"distractors": [1, 3], "caps": {"product": 0.3, "company": 0.5}}},
        "evaluation": {
            "prompt": "both",
            "retrieval": {"kind": "hybrid"},
            "decoding": {"stop_strings": ["###", "\n질문:"]},
        },
        "training": {
            "max_steps": 12,
            "fsdp": False,
            "eval_steps": None,
            "lora": {"r": 8, "target_modules": "all-linear"},
        },
        "promotion": {"margins": {"hallucination": 0.03}},
        "adapters": {"v2": "/a/v2"},
    }
    assert parse(flat) == parse(nested)
    assert parse(flat).training == nested["training"] and parse(flat).promotion == nested["promotion"]
    assert parse({**FORM, **nested}) == parse(nested), "the form sends its defaults as well"


def test_a_single_document_and_an_event() -> None:
    assert parse({"documents": "/policies"}).documents == ("/policies",)
    event: dict[str, JsonValue] = {"documents": [], "dataset": "/d", "question_limit": None}
    config = parse({"documents": ["/policies"], "generation": None}, event)
    assert (config.documents, config.dataset, config.question_limit) == ((), "/d", None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"generation.modle": "m"}, r"generation.modle: unknown key; did you mean 'model'\?"),
        ({"generation": {"questions": {"persona": []}}}, r"generation.questions.persona: .* did you mean 'personas'\?"),
        ({"evaluation": {"retrieval": {"knd": "bm25"}}}, r"evaluation.retrieval.knd: unknown key; did you mean 'kind'"),
        ({"chunkz": "sample"}, r"chunkz: unknown key; did you mean 'chunks'\?"),
        ({"generation.model": "a", "generation": {"model": "b"}}, "generation.model: is b and a; give one of the two"),
        ({"validation.dataset.caps": "product 0.3"}, "validation.dataset.caps: not lines of the form"),
        ({"question_limit": "many"}, "question_limit: "),
    ],
)
def test_what_cannot_be_right_is_rejected_with_advice(given: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parse(given)
