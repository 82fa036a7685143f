"""Reading pairs out of answers, and matching them with the requested chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from tests.generation.runs import chunks

from insurance_rag.core.errors import InvalidAnswerError
from insurance_rag.core.records import QuestionType
from insurance_rag.generation.parse import ParsedAnswer, parse_answer, parse_labelled
from insurance_rag.generation.prompt import ChunkRequest
from insurance_rag.planning.question_plan import PlannedPair

JsonObject = dict[str, JsonValue]
TYPES: tuple[QuestionType, ...] = ("fact", "scenario", "easy")
PAIR: JsonObject = {"type": "fact", "question": "얼마인가요?", "answer": "1만원입니다.", "evidence": [2]}
QUOTE = "① 회사는 입원하면 1만원을 지급합니다."


def requests(n: int = 1, types: Sequence[QuestionType] = TYPES) -> list[ChunkRequest]:
    return [ChunkRequest(chunk, tuple(map(PlannedPair, types))) for chunk in chunks(n)]


def pair(number: int, kind: QuestionType = "fact", **fields: JsonValue) -> JsonObject:
    """Return an item about the chunk with this number, counted from 1."""
    answer = f"제{number}조에 따르면 입원하면 {number}만원을 지급합니다."
    return {"chunk": f"C{number}", "type": kind, "question": f"{number}?", "answer": answer, "evidence": [2], **fields}


def parse(items: Sequence[JsonValue], n: int = 2) -> ParsedAnswer:
    return parse_answer(json.dumps(items), requests(n))


@pytest.mark.parametrize("shape", ["{}", "```json\n{}\n```", '{{"pairs": {}}}', " {} \n"])
def test_pairs_in_every_shape_that_servers_use(shape: str) -> None:
    parsed = parse_answer(shape.format(json.dumps([PAIR])), requests())
    assert [(pair.type, pair.evidence) for pair in parsed.pairs[0]] == [("fact", QUOTE)]
    assert not parsed.is_cut


def test_items_that_are_not_a_pair_are_skipped() -> None:
    bad: list[JsonValue] = [{**PAIR, "type": "other"}, {**PAIR, "answer": " "}, {**PAIR, "question": 3}, "text", None]
    parsed = parse_answer(json.dumps([*bad, {**PAIR, "type": "Easy"}]), requests())
    assert [pair.type for pair in parsed.pairs[0]] == ["easy"]
    assert len(parsed.dropped) == len(bad)
    with pytest.raises(InvalidAnswerError, match="the answer has no usable pair among 5"):
        parse_answer(json.dumps(bad), requests())


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_other_text_is_an_invalid_answer(text: str) -> None:
    with pytest.raises(InvalidAnswerError):
        parse_answer(text, requests(2))


EVIDENCE: list[tuple[JsonValue, str]] = [
    *[(number, QUOTE) for number in (2, "2", "[2]")],
    ([2], QUOTE),
    ([2.0], QUOTE),
    ([[2]], QUOTE),
    (["2"], QUOTE),
    (["[2]"], QUOTE),
    (True, ""),
    (None, ""),
    ([], ""),
    ([99], "[99]"),
    ("입원하면", "입원하면"),
    ("[2] ① 회사는 입원하면", "① 회사는 입원하면"),
]


@pytest.mark.parametrize(("evidence", "quote"), EVIDENCE)
def test_evidence_as_numbers_or_as_a_quote(evidence: JsonValue, quote: str) -> None:
    assert parse_answer(json.dumps([{**PAIR, "evidence": evidence}]), requests()).pairs[0][0].evidence == quote


def test_a_near_miss_has_no_evidence() -> None:
    item = {**PAIR, "type": "unanswerable"}
    assert parse_answer(json.dumps([item]), requests(types=["unanswerable"])).pairs[0][0].evidence == ""


def test_pairs_are_matched_by_the_id_of_the_chunk_in_any_order() -> None:
    parsed = parse([pair(2), pair(1, "easy"), pair(2, "easy"), pair(1, chunk=" c1 ")])
    assert [sorted(pair.type for pair in found) for found in parsed.pairs] == [["easy", "fact"], ["easy", "fact"]]
    assert all(pair.question.startswith(str(n)) for n, found in enumerate(parsed.pairs, 1) for pair in found)
    assert parsed.dropped == []


def test_pairs_that_nobody_asked_for_are_dropped() -> None:
    unknown, unnamed, surplus = pair(1, chunk="C3"), {k: v for k, v in pair(1).items() if k != "chunk"}, pair(2)
    parsed = parse([pair(2), unknown, unnamed, surplus])
    assert [len(found) for found in parsed.pairs] == [0, 1]
    assert parsed.dropped == ["names no requested chunk", "names no requested chunk", "is a pair of type fact too many"]


def test_a_pair_about_another_chunk_than_it_names_is_dropped() -> None:
    second = chunks(2)[1].model_copy(update={"text": "제9조(해지)\n계약자는 언제든지 계약을 해지할 수 있습니다."})
    pairs = tuple(map(PlannedPair, TYPES))
    asked = [ChunkRequest(chunks(1)[0], pairs), ChunkRequest(second, pairs)]
    parsed = parse_answer(json.dumps([pair(1), pair(1, "easy", chunk="C2")]), asked)
    assert [len(found) for found in parsed.pairs] == [1, 0]
    assert parsed.dropped == ["is about another chunk than C2"]


@pytest.mark.parametrize("tail", ["", "\n\n위와 같이 작성했습니다."])
def test_the_complete_pairs_of_a_cut_answer_are_kept(tail: str) -> None:
    text = json.dumps([pair(1), pair(1, "easy"), pair(2)])
    parsed = parse_answer(text[: text.index('"C2"') + 20] + tail, requests(2))
    assert [len(found) for found in parsed.pairs] == [2, 0]
    assert parsed.is_cut


def test_a_cut_answer_without_a_complete_pair_is_invalid() -> None:
    text = json.dumps([pair(1)])
    with pytest.raises(InvalidAnswerError, match=rf"no complete JSON .* of {len(text) - 9}\)"):
        parse_answer(text[:-9], requests(2))


def test_labelled_pairs() -> None:
    text = "질문: 얼마인가요?\n답변: 3만원입니다.\n한 번만 지급합니다.\n\n질문： 언제인가요?\n답변： 3일입니다.\n###"
    assert parse_labelled(text) == [
        ("얼마인가요?", "3만원입니다.\n한 번만 지급합니다."),
        ("언제인가요?", "3일입니다."),
    ]
    with pytest.raises(InvalidAnswerError):
        parse_labelled("질문: 답이 없습니다")


def test_sentence_numbers_that_an_answer_repeats_are_removed() -> None:
    item = {**PAIR, "answer": "제1조에 따르면 [2] ① 회사는 보험금을 지급합니다 [2]."}
    pair = parse_answer(json.dumps([item]), requests()).pairs[0][0]
    assert pair.answer == "제1조에 따르면 ① 회사는 보험금을 지급합니다."


def test_a_number_that_is_too_long_ends_the_reading_of_an_answer() -> None:
    looping = json.dumps([PAIR])[:-1] + ', {"chunk": "C1", "type": "fact", "evidence": [' + "1" * 5000
    parsed = parse_answer(looping + "]}]", requests())
    assert len(parsed.pairs[0]) == 1 and parsed.is_cut
    with pytest.raises(InvalidAnswerError):
        parse_answer("[" + "1" * 5000 + "]", requests())


def test_a_single_pair_without_an_array_and_text_after_the_json_are_read() -> None:
    for text in (json.dumps(PAIR), json.dumps([{**PAIR, "chunk": 1}]), json.dumps([PAIR]) + "\n이상입니다."):
        parsed = parse_answer(text, requests())
        assert len(parsed.pairs[0]) == 1 and not parsed.is_cut
