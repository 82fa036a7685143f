"""The prompt for one or several chunks, and the schema of its answer."""

from __future__ import annotations

import pytest
from tests.generation.runs import chunks

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import REFUSAL
from insurance_rag.generation.prompt import ChunkRequest, answer_schema, render, render_local
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import PlannedPair

FACT, EASY = PlannedPair("fact", "60대 은퇴자, 편한 구어체"), PlannedPair("easy")
MAX_HEAD_CHARACTERS = 1300


def prompt_spec(**settings: object) -> PromptSpec:
    return PromptSpec.from_config(GenerationConfig.model_validate(settings))


def two_requests() -> list[ChunkRequest]:
    first, second = chunks(2)
    return [ChunkRequest(first, (FACT, EASY)), ChunkRequest(second, (EASY, PlannedPair("unanswerable")))]


def test_the_head_is_followed_by_one_section_per_chunk() -> None:
    head, first, second = render(prompt_spec(), two_requests()).split("\n\n### 조항 ")
    assert head.startswith("### 지시\n")
    assert len(head) <= MAX_HEAD_CHARACTERS
    assert first == (
        "C1\n상품: 한빛생명 한빛 암보험\n위치: 제1관\n문항:\n- fact: 60대 은퇴자, 편한 구어체\n- easy:\n"
        "### 보험 약관 내용\n"
        "[1] 제1조(입원보험금)\n[2] ① 회사는 입원하면 1만원을 지급합니다.\n[3] ② 청구는 1일 안에 합니다."
    )
    assert second.startswith("C2\n")
    assert "{" not in first + second


def test_the_head_explains_only_the_types_of_the_call() -> None:
    spec, requests = prompt_spec(), two_requests()
    assert REFUSAL in render(spec, requests)
    without_refusal = render(spec, requests[:1])
    assert REFUSAL not in without_refusal
    assert "- fact: 금액" in without_refusal
    assert "- scenario: " not in without_refusal


def test_a_repair_request_lists_the_faults() -> None:
    pair = PlannedPair("fact", "숫자가 조항에 없습니다: '9만원'\n  질문: 얼마예요?\n답변: 9만원입니다.")
    prompt = render(prompt_spec(), [ChunkRequest(chunks(1)[0], (pair,))], repair=True)
    assert prompt.index("[답변]") < prompt.index("\n### 다시 작성\n") < prompt.index("\n### 조항 C1\n")
    assert "- fact: 숫자가 조항에 없습니다: '9만원'\n  질문: 얼마예요?\n  답변: 9만원입니다.\n###" in prompt
    assert "### 바꿔 쓰기" not in prompt


def test_a_request_can_ask_for_paraphrases() -> None:
    prompt = render(prompt_spec(), two_requests(), paraphrase=True)
    assert prompt.index("\n### 바꿔 쓰기\n") < prompt.index("\n### 조항 C1\n")
    assert "### 다시 작성" not in prompt


def test_the_second_chunk_of_a_question_has_no_sentence_numbers() -> None:
    first, second = chunks(2)
    prompt = render(prompt_spec(), [ChunkRequest(first, (FACT,), other=second)])
    assert prompt.endswith(f"### 함께 볼 조항\n{second.text}\n")


def test_a_chunk_without_section_has_no_empty_line() -> None:
    chunk = chunks(1)[0]
    chunk = chunk.model_copy(update={"metadata": chunk.metadata.model_copy(update={"breadcrumbs": "암보험"})})
    prompt = render(prompt_spec(), [ChunkRequest(chunk, (FACT,))])
    assert "상품: 한빛생명 암보험\n문항:\n" in prompt


def test_braces_in_a_chunk_are_not_replaced() -> None:
    chunk = chunks(1)[0].model_copy(update={"text": "제1조 {clause} {types} {x}"})
    assert render(prompt_spec(), [ChunkRequest(chunk, (FACT,))]).endswith("[1] 제1조 {clause} {types} {x}\n")


def test_a_prompt_without_sections_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"'local_v1'.*no line '--- 조항 ---'; add it"):
        render(prompt_spec(prompt="local_v1"), two_requests())


def test_the_local_prompt_asks_for_one_type() -> None:
    chunk = chunks(1)[0]
    prompt = render_local(prompt_spec(teacher="local"), chunk, "easy")
    assert "- easy: " in prompt
    assert "- fact: " not in prompt
    assert f"상품: 한빛생명 한빛 암보험\n### 보험 약관 내용\n{chunk.text}\n" in prompt
    assert prompt.rstrip().endswith("질문:")


def test_the_schema_puts_the_evidence_first_and_limits_the_number_of_pairs() -> None:
    fields = ["chunk", "type", "evidence", "question", "answer"]
    assert answer_schema(two_requests()) == {
        "type": "array",
        "minItems": 2,
        "maxItems": 4,
        "items": {
            "type": "object",
            "propertyOrdering": fields,
            "properties": {
                "chunk": {"type": "string", "enum": ["C1", "C2"]},
                "type": {"type": "string", "enum": ["fact", "easy", "unanswerable"]},
                "evidence": {"type": "array", "items": {"type": "integer"}},
                "question": {"type": "string"},
                "answer": {"type": "string"},
            },
            "required": fields,
        },
    }
