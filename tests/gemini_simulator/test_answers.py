"""What the simulated teacher says of the sample clauses: good pairs are really good, bad ones are bad as recorded."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Any

import pytest

from gemini_simulator.answers import write_answers
from gemini_simulator.defects import SHARES
from gemini_simulator.korean_grammar import as_question, ask_for_number, in_plain_words, join
from gemini_simulator.parsed_request import Wish
from insurance_rag.chunks import read_chunks
from insurance_rag.core.records import REFUSAL, Chunk
from insurance_rag.korean import ends_as_sentence, refusal, unsupported_articles, unsupported_quantities

CLAUSE = (
    "제15조(청약의 철회)\n① 계약자는 보험증권을 받은 날부터 15일 이내에 그 청약을 철회할 수 있습니다. "
    "다만, 청약한 날부터 30일이 지나면 철회할 수 없습니다."
)


def product_of(chunk: Chunk) -> str:
    return chunk.metadata.breadcrumbs.split(" > ")[0]


def wish_for(chunk: Chunk, **schema: Any) -> Wish:
    prompt = f"상품: {product_of(chunk)}\n회사: {chunk.metadata.company}\n### 보험 약관 내용\n{chunk.text}\n"
    return Wish(prompt, schema or {"type": "ARRAY"})


@cache
def sample() -> list[Chunk]:
    return read_chunks("sample")


def test_every_good_pair_rests_on_its_clause() -> None:
    faults = []
    for chunk in sample():
        for item in json.loads(write_answers(wish_for(chunk), seed=0, defects=0).text):
            question, answer = item["question"], item["answer"]
            checks = {
                "evidence": item["evidence"] in chunk.text,
                "numbers": not unsupported_quantities(answer, chunk.text, question),
                "articles": not unsupported_articles(answer, chunk.text, question),
                "cited": re.match(r"(네, )?제\d+조", answer) is not None,
                "ending": ends_as_sentence(answer),
                "product": product_of(chunk) in question,
                "standalone": not re.search(r"이 조항|위 약관|(?<![가-힣])이 (?:계약|약관)", question),
                "question mark": question.endswith("?"),
                "no refusal": refusal(answer) == "none",
                "length": len(answer) >= 20,
            }
            faults += [(name, chunk.chunk_id, question, answer) for name, passed in checks.items() if not passed]
    assert faults == []


def test_pairs_are_varied() -> None:
    items = [item for chunk in sample() for item in write_answers(wish_for(chunk), 0, 0).items]
    questions = Counter(item["question"] for item in items)
    assert len(items) == 3 * len(sample())
    assert max(questions.values()) == 1
    openings = Counter(question[:14] for question in questions)
    assert openings.most_common(1)[0][1] < len(items) * 0.1


def test_the_same_seed_says_the_same_and_another_something_else() -> None:
    wish = wish_for(sample()[0])
    assert write_answers(wish, 1, 0.5) == write_answers(wish, 1, 0.5)
    said = {write_answers(wish, seed, 0.0).text for seed in range(8)}
    assert len(said) > 1


def test_defects_come_at_their_share_and_of_every_kind() -> None:
    items = [
        item for seed in range(4) for chunk in sample() for item in write_answers(wish_for(chunk), seed, 0.3).items
    ]
    defects = Counter(item["defect"] for item in items if item["defect"])
    assert set(defects) == set(SHARES)
    assert 0.24 < sum(defects.values()) / len(items) < 0.34


@pytest.mark.parametrize("defect", sorted(SHARES))
def test_a_defect_is_what_its_name_says(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemini_simulator.defects.SHARES", {defect: 1.0})
    found = 0
    for chunk in sample()[:60]:
        good = write_answers(wish_for(chunk), 0, 0.0)
        spoilt = json.loads(write_answers(wish_for(chunk), 0, 0.5).text)
        truth = write_answers(wish_for(chunk), 0, 0.5).items
        for n, (item, record) in enumerate(zip(spoilt, truth, strict=True)):
            if record["defect"] is None:
                assert item.get("question") == good.items[n]["question"]
                continue
            assert record["defect"] == defect
            assert DEFECT[defect](item, chunk.text, [other.get("question") for other in spoilt[:n]]), item
            found += 1
    assert found > 5


def number_outside(answer: str, clause: str) -> bool:
    return bool(unsupported_quantities(answer, clause))


DEFECT: dict[str, Any] = {
    "missing_field": lambda i, c, q: not (i.get("question") and i.get("answer")),
    "duplicate_question": lambda i, c, q: i["question"] in q,
    "near_duplicate": lambda i, c, q: any(x and x[:20] == i["question"][:20] for x in q),
    "too_short": lambda i, c, q: len(i["answer"]) < 10,
    "cut_off": lambda i, c, q: not ends_as_sentence(i["answer"]) and len(i["answer"]) >= 10,
    "evasive": lambda i, c, q: "약관에 해당 내용이 없습니다" not in i["answer"] and i["evidence"] in c,
    "invented_number": lambda i, c, q: number_outside(i["answer"], c),
    "wrong_article": lambda i, c, q: bool(unsupported_articles(i["answer"], c)),
    "prompt_echo": lambda i, c, q: re.match(r"### 지시|\[요구사항\]|질문:", i["answer"]) is not None,
    "not_standalone": lambda i, c, q: re.match(r"이 조항|위 약관|본 조항|위 내용", i["question"]) is not None,
    "foreign_tail": lambda i, c, q: "다. " in i["answer"] or "요. " in i["answer"],
    "evidence_not_in_clause": lambda i, c, q: i["evidence"] not in c,
    "refusal_where_answerable": lambda i, c, q: i["answer"] == f"{REFUSAL}.",
}


def test_types_pairs_and_field_names_follow_the_prompt_and_the_schema() -> None:
    item = {
        "type": "OBJECT",
        "properties": {"type": {"enum": ["fact", "unanswerable"]}, "instruction": {}, "output": {}},
    }
    schema = {"type": "object", "properties": {"note": {"type": "string"}, "pairs": {"type": "array", "items": item}}}
    wish = Wish(f"유형마다 2개씩 만듭니다.\n상품: 든든보험\n### 보험 약관 내용\n{CLAUSE}", schema)
    pairs = json.loads(write_answers(wish, 0, 0.0).text)["pairs"]
    assert [pair["type"] for pair in pairs] == ["fact", "fact", "unanswerable", "unanswerable"]
    assert all(set(pair) == {"type", "instruction", "output"} for pair in pairs)
    assert pairs[2]["output"] == f"{REFUSAL}." and "든든보험" in pairs[2]["instruction"]


def test_plain_text_holds_one_question_and_its_answer() -> None:
    wish = Wish(f"### 지시\n만드세요.\n### 보험 약관 내용\n{CLAUSE}\n\n질문:")
    assert wish.clause == CLAUSE
    assert re.fullmatch(r"질문: .+\?\n답변: (네, )?제15조.+[다요]\.", write_answers(wish, 0, 0.0).text)


@pytest.mark.parametrize(
    "text", ["", "제1조(목적)", "그냥 글자", "① \n\n| |", "제3조(표)\n구분 | 금액\n가 | 없음", "x" * 5000]
)
def test_any_text_gets_an_answer(text: str) -> None:
    assert json.loads(write_answers(Wish(f"### 보험 약관 내용\n{text}", {"type": "array"}), 0, 0.5).text)


def test_korean_forms() -> None:
    assert join("회사", "은") == "회사는" and join("계약", "은") == "계약은" and join("서울", "으로") == "서울로"
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


def test_a_correction_is_another_answer_of_the_same_clause_and_a_better_one() -> None:
    firsts, seconds = [], []
    for chunk in sample():
        wish = wish_for(chunk)
        correction = Wish(f"{wish.prompt}\n### 다시 작성\n- fact: 답변이 너무 짧습니다: '네.'\n", wish.schema)
        assert correction.clause_sha256 == wish.clause_sha256 and correction.sha256 != wish.sha256
        first, second = (write_answers(w, seed=0, defects=0.4) for w in (wish, correction))
        assert second == write_answers(correction, seed=0, defects=0.4)
        firsts += first.items
        seconds += second.items
    same = sum(a["answer"] == b["answer"] for a, b in zip(firsts, seconds, strict=True))
    assert same < 0.5 * len(firsts)
    wrong = [sum(item["defect"] is not None for item in items) for items in (firsts, seconds)]
    assert wrong[1] < 0.4 * wrong[0]
