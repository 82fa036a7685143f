"""The simulator's pairs about the sample chunks: good pairs are correct, and defective ones have their defect."""

from __future__ import annotations

import doctest
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from types import ModuleType

import pytest

from gemini_simulator import korean_grammar, seeded_random
from gemini_simulator.answers import write_answer
from gemini_simulator.defects import DEFECT_SHARES
from gemini_simulator.json_types import JsonObject
from gemini_simulator.korean_grammar import as_question, ask_for_number, in_plain_words
from gemini_simulator.parsed_request import ParsedRequest
from insurance_rag.chunks import read_chunks
from insurance_rag.core.records import REFUSAL, Chunk
from insurance_rag.korean import ends_as_sentence, refusal, unsupported_articles, unsupported_quantities
from insurance_rag.korean.particles import with_particle

ARTICLE_15 = (
    "제15조(청약의 철회)\n① 계약자는 보험증권을 받은 날부터 15일 이내에 그 청약을 철회할 수 있습니다. "
    "다만, 청약한 날부터 30일이 지나면 철회할 수 없습니다."
)


def product_of(chunk: Chunk) -> str:
    return chunk.metadata.breadcrumbs.split(" > ")[0]


def request_for(chunk: Chunk) -> ParsedRequest:
    prompt = f"상품: {product_of(chunk)}\n회사: {chunk.metadata.company}\n### 보험 약관 내용\n{chunk.text}\n"
    return ParsedRequest(prompt, {"type": "ARRAY"})


@cache
def sample() -> list[Chunk]:
    return read_chunks("sample")


def test_every_good_pair_is_supported_by_its_chunk() -> None:
    faults = []
    for chunk in sample():
        for pair in write_answer(request_for(chunk), seed=0, defects=0).pairs:
            checks = {
                "evidence": pair.evidence in chunk.text,
                "numbers": not unsupported_quantities(pair.answer, chunk.text, pair.question),
                "articles": not unsupported_articles(pair.answer, chunk.text, pair.question),
                "cited": re.match(r"(네, )?제\d+조", pair.answer) is not None,
                "ending": ends_as_sentence(pair.answer),
                "product": product_of(chunk) in pair.question,
                "standalone": not re.search(r"이 조항|위 약관|(?<![가-힣])이 (?:계약|약관)", pair.question),
                "question mark": pair.question.endswith("?"),
                "no refusal": refusal(pair.answer) == "none",
                "length": len(pair.answer) >= 20,
            }
            faults += [(name, chunk.chunk_id, pair) for name, passed in checks.items() if not passed]
    assert faults == []


def test_pairs_are_varied() -> None:
    pairs = [pair for chunk in sample() for pair in write_answer(request_for(chunk), 0, 0).pairs]
    questions = Counter(pair.question for pair in pairs)
    assert len(pairs) == 3 * len(sample())
    assert max(questions.values()) == 1
    openings = Counter(question[:14] for question in questions)
    assert openings.most_common(1)[0][1] < len(pairs) * 0.1


def test_the_text_contains_the_pairs_without_their_defects() -> None:
    answer = write_answer(request_for(sample()[0]), seed=0, defects=0)
    assert json.loads(answer.text) == [pair.as_json() for pair in answer.pairs]
    assert set(answer.pairs[0].as_json()) == {"type", "question", "answer", "evidence", "answerable", "article"}


def test_the_same_seed_gives_the_same_answer_and_other_seeds_give_others() -> None:
    request = request_for(sample()[0])
    assert write_answer(request, 1, 0.5) == write_answer(request, 1, 0.5)
    texts = {write_answer(request, seed, 0.0).text for seed in range(8)}
    assert len(texts) > 1


def test_defects_occur_at_the_configured_share_and_of_every_kind() -> None:
    pairs = [
        pair for seed in range(4) for chunk in sample() for pair in write_answer(request_for(chunk), seed, 0.3).pairs
    ]
    defects = Counter(pair.defect for pair in pairs if pair.defect)
    assert set(defects) == set(DEFECT_SHARES)
    assert 0.24 < sum(defects.values()) / len(pairs) < 0.34


@pytest.mark.parametrize("defect", sorted(DEFECT_SHARES))
def test_a_defective_pair_has_the_defect_that_it_records(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemini_simulator.defects.DEFECT_SHARES", {defect: 1.0})
    found = 0
    for chunk in sample()[:60]:
        good = write_answer(request_for(chunk), 0, 0.0)
        answer = write_answer(request_for(chunk), 0, 0.5)
        sent: list[JsonObject] = json.loads(answer.text)
        for n, pair in enumerate(answer.pairs):
            if pair.defect is None:
                assert sent[n].get("question") == good.pairs[n].question
                continue
            assert pair.defect == defect
            earlier_questions = [str(other.get("question")) for other in sent[:n] if "question" in other]
            fields = {name: str(value) for name, value in sent[n].items()}
            assert HAS_DEFECT[defect](fields, chunk.text, earlier_questions), pair
            found += 1
    assert found > 5


#: By defect: whether the fields of a pair have it, given the chunk's text and the questions of earlier pairs.
HAS_DEFECT: dict[str, Callable[[dict[str, str], str, list[str]], bool]] = {
    "missing_field": lambda pair, text, earlier: not (pair.get("question") and pair.get("answer")),
    "duplicate_question": lambda pair, text, earlier: pair["question"] in earlier,
    "near_duplicate": lambda pair, text, earlier: any(q and q[:20] == pair["question"][:20] for q in earlier),
    "too_short": lambda pair, text, earlier: len(pair["answer"]) < 10,
    "cut_off": lambda pair, text, earlier: not ends_as_sentence(pair["answer"]) and len(pair["answer"]) >= 10,
    "evasive": lambda pair, text, earlier: REFUSAL not in pair["answer"] and pair["evidence"] in text,
    "invented_number": lambda pair, text, earlier: bool(unsupported_quantities(pair["answer"], text)),
    "wrong_article": lambda pair, text, earlier: bool(unsupported_articles(pair["answer"], text)),
    "prompt_echo": lambda pair, text, earlier: re.match(r"### 지시|\[요구사항\]|질문:", pair["answer"]) is not None,
    "not_standalone": lambda pair, text, earlier: (
        re.match(r"이 조항|위 약관|본 조항|위 내용", pair["question"]) is not None
    ),
    "foreign_tail": lambda pair, text, earlier: "다. " in pair["answer"] or "요. " in pair["answer"],
    "evidence_not_in_chunk": lambda pair, text, earlier: pair["evidence"] not in text,
    "refusal_where_answerable": lambda pair, text, earlier: pair["answer"] == f"{REFUSAL}.",
}


def test_types_pairs_and_field_names_follow_the_prompt_and_the_schema() -> None:
    pair_schema: JsonObject = {
        "type": "OBJECT",
        "properties": {"type": {"enum": ["fact", "unanswerable"]}, "instruction": {}, "output": {}},
    }
    schema: JsonObject = {
        "type": "object",
        "properties": {"note": {"type": "string"}, "pairs": {"type": "array", "items": pair_schema}},
    }
    prompt = f"유형마다 2개씩 만듭니다.\n상품: 든든보험\n### 보험 약관 내용\n{ARTICLE_15}"
    pairs = json.loads(write_answer(ParsedRequest(prompt, schema), 0, 0.0).text)["pairs"]
    assert [pair["type"] for pair in pairs] == ["fact", "fact", "unanswerable", "unanswerable"]
    assert all(set(pair) == {"type", "instruction", "output"} for pair in pairs)
    assert pairs[2]["output"] == f"{REFUSAL}." and "든든보험" in pairs[2]["instruction"]


def test_a_plain_text_answer_has_one_question_and_its_answer() -> None:
    request = ParsedRequest(f"### 지시\n만드세요.\n### 보험 약관 내용\n{ARTICLE_15}\n\n질문:")
    assert [section.text for section in request.sections] == [ARTICLE_15]
    assert re.fullmatch(r"질문: .+\?\n답변: (네, )?제15조.+[다요]\.", write_answer(request, 0, 0.0).text)


@pytest.mark.parametrize(
    "text", ["", "제1조(목적)", "그냥 글자", "① \n\n| |", "제3조(표)\n구분 | 금액\n가 | 없음", "x" * 5000]
)
def test_any_text_gets_an_answer(text: str) -> None:
    request = ParsedRequest(f"### 보험 약관 내용\n{text}", {"type": "array"})
    assert json.loads(write_answer(request, 0, 0.5).text)


def test_korean_forms() -> None:
    assert [with_particle("회사", "은"), with_particle("계약", "은")] == ["회사는", "계약은"]
    assert with_particle("서울", "으로") == "서울로"
    assert as_question("보험금을 지급합니다.") == "보험금을 지급하나요?"
    assert as_question("한도는 1억원입니다.") == "한도는 1억원인가요?"
    assert as_question("보상하지 않습니다.") == "보상하지 않나요?"
    assert as_question("해당하는 것이 아닙니다.") == "해당하는 것이 아닌가요?"
    assert as_question("표와 같음") is None
    assert (
        ask_for_number("청약한 날부터 15일 이내에 철회할 수 있습니다.") == "청약한 날부터 며칠 이내에 철회할 수 있나요?"
    )
    assert ask_for_number("회사는 3,000만원을 지급합니다.") == "회사는 얼마를 지급하나요?"
    assert ask_for_number("제7조에 따라 지급합니다.") is None
    assert in_plain_words("지급합니다. 90일입니다.") == "지급해요. 90일이에요."


def test_a_correction_gets_other_pairs_about_the_same_chunk_with_fewer_defects() -> None:
    first_pairs, corrected_pairs = [], []
    for chunk in sample():
        request = request_for(chunk)
        prompt = f"{request.prompt}\n### 다시 작성\n- fact: 답변이 너무 짧습니다: '네.'\n"
        correction = ParsedRequest(prompt, request.schema)
        assert correction.sections[0].sha256 == request.sections[0].sha256 and correction.sha256 != request.sha256
        first, corrected = (write_answer(each, seed=0, defects=0.4) for each in (request, correction))
        assert corrected == write_answer(correction, seed=0, defects=0.4)
        first_pairs += first.pairs
        corrected_pairs += corrected.pairs
    same = sum(a.answer == b.answer for a, b in zip(first_pairs, corrected_pairs, strict=True))
    assert same < 0.5 * len(first_pairs)
    defective = [sum(pair.defect is not None for pair in pairs) for pairs in (first_pairs, corrected_pairs)]
    assert defective[1] < 0.4 * defective[0]


@pytest.mark.parametrize("module", [korean_grammar, seeded_random])
def test_the_examples_in_docstrings_are_correct(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.failed == 0 and result.attempted > 0
