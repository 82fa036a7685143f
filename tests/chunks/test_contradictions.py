"""Questions whose fields contradict each other are errors with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.chunks import read_questions
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_jsonl

REFUSAL = "약관에 해당 내용이 없습니다."


def question(i: int, **fields: object) -> dict[str, object]:
    defaults = {
        "question_id": f"q{i}",
        "question": f"질문 {i}은 얼마인가요?",
        "type": "fact",
        "answerable": True,
        "gold_chunk_ids": ["c"],
        "reference_answer": "제3조에 따르면 3,000만원을 지급합니다.",
        "required_numbers": ["3천만원"],
    }
    return {**defaults, **fields}


def test_every_contradiction_is_listed_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    write_jsonl(
        path,
        [
            question(1),
            question(2, reference_answer=REFUSAL, required_numbers=[]),
            question(3, answerable=False, required_numbers=[]),
            question(4, answerable=False, reference_answer=REFUSAL),
            question(5, required_numbers=["3천만원", "15일"]),
            question(6, question="질문 1은  얼마인가요?", answerable=False, reference_answer=None, required_numbers=[]),
        ],
    )
    with pytest.raises(InvalidInputError) as error:
        read_questions(path)
    assert error.value.problems == [
        f"{path}:2: answerable, but reference_answer refuses; correct one of them",
        f"{path}:3: not answerable, but reference_answer does not refuse; correct one of them",
        f"{path}:4: not answerable, but required_numbers is not empty; correct one of them",
        f"{path}:5: required_numbers: '15일' is not in reference_answer; correct one of them",
        f"{path}:6: the same question as in line 1, but only one of them is answerable; correct `answerable` or remove "
        "one of them",
    ]


def test_questions_without_references_and_the_same_question_about_another_product_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    write_jsonl(
        path,
        [
            question(1, reference_answer=None),
            question(2, required_numbers=[]),
            question(3, question="보상하나요?", filters={"company": "a"}),
            question(4, question="보상하나요?", filters={"company": "b"}, answerable=False, reference_answer=REFUSAL,
                     required_numbers=[]),
        ],
    )  # fmt: skip
    assert len(read_questions(path)) == 4
