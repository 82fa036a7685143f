"""The prompt and the schema of its answer."""

from __future__ import annotations

from tests.generation.runs import chunks

from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import REFUSAL
from insurance_rag.generation.prompt import answer_schema, render
from insurance_rag.planning.prompt_spec import PromptSpec


def prompt_spec(**settings: object) -> PromptSpec:
    return PromptSpec.from_config(GenerationConfig.model_validate(settings))


def test_chunk_comes_last_and_the_product_before_it() -> None:
    chunk = chunks(1)[0]
    prompt = render(prompt_spec(), chunk)
    head, chunk_text = prompt.split("### 보험 약관 내용\n")
    assert chunk_text.strip() == chunk.text
    assert head.startswith("### 지시\n")
    assert head.endswith("상품: 한빛생명 한빛 암보험\n")
    assert "[요구사항]" in head
    assert all(f"- {name}: " in head for name in ("fact", "scenario", "easy"))
    assert "유형마다 1개" in head


def test_braces_in_a_chunk_are_not_replaced() -> None:
    chunk = chunks(1)[0].model_copy(update={"text": "제1조 {clause} {types} {x}"})
    assert render(prompt_spec(), chunk).rstrip().endswith("제1조 {clause} {types} {x}")


def test_prompt_names_types_and_number_of_pairs() -> None:
    prompt = render(prompt_spec(types=["unanswerable"], pairs_per_type=3), chunks(1)[0])
    assert REFUSAL in prompt
    assert "- fact" not in prompt
    assert "유형마다 3개" in prompt


def test_schema_lists_the_types() -> None:
    text = {"type": "string"}
    assert answer_schema(prompt_spec(types=["fact", "easy"])) == {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["fact", "easy"]},
                "question": text,
                "answer": text,
                "evidence": text,
            },
            "required": ["type", "question", "answer", "evidence"],
        },
    }
