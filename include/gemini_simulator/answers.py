"""Question-answer pairs drawn from a clause: the same seed, clause and type give the same pair."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from gemini_simulator.clause import Clause, Statement, read_clause
from gemini_simulator.defects import spoil_items
from gemini_simulator.korean_grammar import as_question, ask_for_number, in_plain_words, join
from gemini_simulator.parsed_request import Wish
from gemini_simulator.seeded_random import rng, uniform
from insurance_rag.core.records import REFUSAL

Item = dict[str, Any]

#: Longer statements make unreadable questions; they are asked for by their condition or the clause's title.
QUESTION_CHARS = 110

#: A teacher that is told its faults makes so many times fewer.
STILL_WRONG = 0.25

_THIS_CONTRACT = re.compile(
    r"(?<![가-힣])(?:이|본) (?:보험계약|계약|약관|보험|특약)(?:(은|는|이|가|을|를|과)(?=\s)|(?=에|의|\s))"
)
_IN_SHORT = re.compile(r"\(이하 .*?\)")
_OPEN_QUESTION = re.compile(r"며칠|몇 |얼마|어떻게|어떤|무엇")
_CONDITION = re.compile(r"^(.{8,90}?[가-힣][한된인은는른난간진운] (?:경우|때))(?:에는|에도|에|는)?,?\s")

_SCENARIO_OPENINGS = (
    "저는 {product} 가입자입니다. ",
    "어머니가 {product}에 가입해 두셨는데요, ",
    "얼마 전 {product}에 가입했습니다. ",
    "{product} 가입을 앞두고 미리 확인하고 싶습니다. ",
    "남편이 {product}에 들어 있습니다. ",
)
_EASY_OPENINGS = (
    "보험을 잘 모르는데 쉽게 알려 주세요. {product}에서 ",
    "쉽게 말해서, {product}에서 ",
    "어려운 말 빼고 설명해 주세요. {product}에서 ",
    "{product} 약관이 어려워서 여쭤봐요. ",
)
_OPEN_ENDS = ("어떻게 정해져 있나요?", "어떤 내용인가요?", "어떻게 되나요?")
_FACT_OPENINGS = ("{product}에서 ", "{product} 약관상 ", "{product}의 경우 ")
_ADVICE = (
    "",
    "",
    " 따라서 고객님의 상황에도 이 기준이 적용됩니다.",
    " 말씀하신 경우에도 같은 기준으로 보시면 됩니다.",
)
_UNANSWERABLE = (
    "{product}의 월 보험료는 나이별로 얼마인가요?",
    "{product}에 가입하면 사은품으로 무엇을 받을 수 있나요?",
    "{product} 상담 전화번호가 어떻게 되나요?",
    "{product}의 {title}에 관한 상담은 어느 지점에서 받을 수 있나요?",
    "{product}의 {title}에 관한 기준을 처음 만든 담당 부서는 어디인가요?",
    "{product} 가입자에게 제공되는 모바일 앱의 이름은 무엇인가요?",
)


@dataclass(frozen=True)
class Answers:
    """`text` is what the model says; `items` the truth: type, question, answer and `defect` (None for a good pair)."""

    text: str
    items: list[Item]


@lru_cache(maxsize=4096)
def _read(text: str) -> Clause:
    return read_clause(text)


def write_answers(wish: Wish, seed: int, defects: float) -> Answers:
    """The pairs that are wished for, a share of `defects` of them wrong on purpose, in the form of the wish."""
    clause = _read(wish.clause)
    if wish.is_correction:  # another answer than the first, and a better one
        seed, defects = int(uniform(seed, "correction") * 2**32), defects * STILL_WRONG
    good = [item for kind in wish.types for item in _pairs(clause, kind, wish, seed)]
    items = spoil_items(good, clause, seed, defects)
    said = [{key: value for key, value in item.items() if key != "defect"} for item in items]
    truth = [
        {"type": i["type"], "question": i.get("question", ""), "answer": i.get("answer", ""), "defect": i["defect"]}
        for i in items
    ]
    if wish.schema is not None:
        return Answers(json.dumps(wish.shape(said), ensure_ascii=False), truth)
    return Answers("\n\n".join(f"질문: {i.get('question', '')}\n답변: {i.get('answer', '')}" for i in said), truth)


def _pairs(clause: Clause, kind: str, wish: Wish, seed: int) -> list[Item]:
    """`wish.pairs` pairs of one type, from different statements of the clause as long as they last."""
    order = list(clause.statements)
    rng(seed, "order", clause.text).shuffle(order)
    first = wish.types.index(kind) * wish.pairs
    pairs: list[Item] = []
    for n in range(first, first + wish.pairs):
        statement = order[n % len(order)]
        chance = rng(seed, kind, n, clause.text)
        product = _product(wish, clause, chance)
        writer = _WRITERS.get(kind, _fact)
        question, answer = writer(clause, statement, product, chance, n >= len(order))
        unanswerable = kind == "unanswerable"
        evidence = "" if unanswerable else statement.evidence
        told = {"type": kind, "question": question, "answer": answer, "evidence": evidence}
        pairs.append({**told, "answerable": not unanswerable, "article": clause.article})
    return pairs


def _product(wish: Wish, clause: Clause, chance: Random) -> str:
    name = wish.product or wish.company
    if not name:
        return f"{clause.title} 조항이 있는 보험" if clause.title else "보험 계약"
    if wish.company and wish.company not in name and chance.random() < 0.25:
        return f"{wish.company} {name}"
    return name


def _fact(clause: Clause, statement: Statement, product: str, chance: Random, again: bool) -> tuple[str, str]:
    question = _question(clause, statement, product, chance, _FACT_OPENINGS, again)
    return question, _cited(clause, statement, chance)


def _scenario(clause: Clause, statement: Statement, product: str, chance: Random, again: bool) -> tuple[str, str]:
    opening = chance.choice(_SCENARIO_OPENINGS).format(product=product)
    condition = _CONDITION.match(statement.evidence)
    if statement.kind == "item":
        question = f"{opening}혹시 ‘{statement.head}’에 해당하는 일이 생기면 어떻게 되나요?"
    elif statement.kind == "sentence" and condition and statement.stands_alone:
        question = f"{opening}{condition[1]}에는 어떻게 되나요?"
        question = _name_product(_IN_SHORT.sub("", question), opening, "")
    else:
        question = opening + _question(clause, statement, "", chance, ("",), again)
    return question, _yes(question, chance) + _cited(clause, statement, chance) + chance.choice(_ADVICE)


def _easy(clause: Clause, statement: Statement, product: str, chance: Random, again: bool) -> tuple[str, str]:
    question = _question(clause, statement, product, chance, _EASY_OPENINGS, again or chance.random() < 0.2)
    return question, _yes(question, chance) + in_plain_words(_cited(clause, statement, chance))


def _unanswerable(clause: Clause, statement: Statement, product: str, chance: Random, again: bool) -> tuple[str, str]:
    return chance.choice(_UNANSWERABLE).format(product=product, title=clause.title or "보험금 지급"), f"{REFUSAL}."


_WRITERS: dict[str, Callable[[Clause, Statement, str, Random, bool], tuple[str, str]]] = {
    "fact": _fact,
    "scenario": _scenario,
    "easy": _easy,
    "unanswerable": _unanswerable,
}


def _question(
    clause: Clause, statement: Statement, product: str, chance: Random, openings: Sequence[str], again: bool
) -> str:
    """A question that this statement answers; `again` asks for the subject, as its wording was used before."""
    opening = chance.choice(openings).format(product=product)
    if statement.kind == "row":
        return f"{opening}{join(f'‘{statement.head}’의 {statement.column}', '은')} {_how_much(statement.cell)}"
    if statement.kind == "term":
        return f"{opening}‘{statement.head}’{join(statement.head, '이란')[len(statement.head) :]} 무엇을 말하나요?"
    if statement.kind == "item":
        return f"{opening}‘{statement.head}’도 {_subject(clause)}에 들어가나요?"
    sentence = re.split(r"(?<=다\.)\s", statement.evidence)[0]
    if not again and statement.stands_alone and len(sentence) <= QUESTION_CHARS:
        asked = ask_for_number(sentence) or as_question(sentence)
        if asked:
            return _name_product(opening + _IN_SHORT.sub("", asked), opening, product)
    return f"{opening}{join(_subject(clause), '은')} {chance.choice(_OPEN_ENDS)}"


def _yes(question: str, chance: Random) -> str:
    """Every yes-or-no question here is a statement turned round: its answer is yes, which some teachers say first."""
    return "네, " if not _OPEN_QUESTION.search(question) and chance.random() < 0.5 else ""


def _subject(clause: Clause) -> str:
    return clause.title or "보장 내용"


def _name_product(question: str, opening: str, product: str) -> str:
    """`이 계약은` says nothing outside the clause: name the product instead."""
    named = _THIS_CONTRACT.sub(lambda found: _with_particle(product or "이 상품", found[1]), question)
    if named == question or not product:
        return named
    return named.removeprefix(opening)


def _with_particle(word: str, particle: str | None) -> str:
    after_final = {"는": "은", "가": "이", "를": "을"}
    return join(word, after_final.get(particle, particle)) if particle else word


def _how_much(cell: str) -> str:
    return "얼마인가요?" if re.search(r"\d\s*(?:[억만천백]*\s*원|%)", cell) else "어떻게 되나요?"


def _cited(clause: Clause, statement: Statement, chance: Random) -> str:
    """The statement as an answer that names the article it rests on."""
    source = clause.article
    if source and clause.title and chance.random() < 0.3:
        source = f"{source}({clause.title})"
    return f"{source or '약관'}에 따르면 {_said(clause, statement)}"


def _said(clause: Clause, statement: Statement) -> str:
    head = f"‘{statement.head}’{join(statement.head, '은')[len(statement.head) :]}"
    if statement.kind == "row":
        return f"{join(f'‘{statement.head}’의 {statement.column}', '은')} {statement.cell}입니다."
    if statement.kind == "term":
        meaning = statement.evidence.partition(":")[2].strip()
        return f"{head} {meaning}" if meaning.endswith("다.") else f"{head} {join(meaning.rstrip('.'), '을')} 말합니다."
    if statement.kind == "item":
        rest = statement.evidence[len(statement.head) :].lstrip(". ")
        exception = f" {rest}" if rest.endswith("다.") else ""
        return f"{head} {_subject(clause)}에 포함됩니다.{exception}"
    return statement.evidence
