"""Reading pairs out of answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.core.errors import InvalidAnswerError
from insurance_rag.core.records import QuestionType
from insurance_rag.generation.parse import parse_json, parse_labelled

TYPES: tuple[QuestionType, ...] = ("fact", "scenario", "easy")
PAIR = {"type": "fact", "question": "얼마인가요?", "answer": "3만원입니다.", "evidence": " 3만원 "}


@pytest.mark.parametrize("shape", ["{}", "```json\n{}\n```", '{{"pairs": {}}}', " {} \n"])
def test_pairs_in_every_shape_that_servers_use(shape: str) -> None:
    pair = parse_json(shape.format(json.dumps([PAIR])), TYPES)[0]
    assert (pair.type, pair.evidence) == ("fact", "3만원")


def test_items_that_are_not_a_pair_are_skipped() -> None:
    bad: list[object] = [{**PAIR, "type": "other"}, {**PAIR, "answer": " "}, {**PAIR, "question": 3}, "text", None]
    assert len(parse_json(json.dumps([*bad, {**PAIR, "type": "Easy"}]), TYPES)) == 1
    with pytest.raises(InvalidAnswerError, match="the answer has no usable pair among 5"):
        parse_json(json.dumps(bad), TYPES)


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_other_text_is_an_invalid_answer(text: str) -> None:
    with pytest.raises(InvalidAnswerError):
        parse_json(text, TYPES)


def test_labelled_pairs() -> None:
    text = "질문: 얼마인가요?\n답변: 3만원입니다.\n한 번만 지급합니다.\n\n질문： 언제인가요?\n답변： 3일입니다.\n###"
    assert parse_labelled(text) == [
        ("얼마인가요?", "3만원입니다.\n한 번만 지급합니다."),
        ("언제인가요?", "3일입니다."),
    ]
    with pytest.raises(InvalidAnswerError):
        parse_labelled("질문: 답이 없습니다")
