from __future__ import annotations

from tests.generation.runs import chunks

from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import REFUSAL
from insurance_rag.generation.prompt import answer_schema, render
from insurance_rag.planning.prompt_spec import PromptSpec


def content(**settings: object) -> PromptSpec:
    return PromptSpec.from_config(GenerationConfig.model_validate(settings))


def test_the_clause_comes_last_after_its_heading_and_the_product_before_it() -> None:
    chunk = chunks(1)[0]
    prompt = render(content(), chunk)
    head, clause = prompt.split("### 보험 약관 내용\n")
    assert clause.strip() == chunk.text
    assert head.startswith("### 지시\n")
    assert head.endswith("상품: 한빛생명 한빛 암보험\n")
    assert "[요구사항]" in head
    assert all(f"- {name}: " in head for name in ("fact", "scenario", "easy"))
    assert "유형마다 1개" in head


def test_braces_in_a_clause_stay_as_they_are() -> None:
    chunk = chunks(1)[0].model_copy(update={"text": "제1조 {clause} {types} {x}"})
    assert render(content(), chunk).rstrip().endswith("제1조 {clause} {types} {x}")


def test_types_and_number_of_pairs_are_asked_for() -> None:
    prompt = render(content(types=["unanswerable"], pairs_per_type=3), chunks(1)[0])
    assert REFUSAL in prompt
    assert "- fact" not in prompt
    assert "유형마다 3개" in prompt


def test_the_schema_holds_the_types() -> None:
    item = answer_schema(content(types=["fact", "easy"]))["items"]
    assert item["properties"]["type"]["enum"] == ["fact", "easy"]
    assert item["required"] == ["type", "question", "answer", "evidence"]
