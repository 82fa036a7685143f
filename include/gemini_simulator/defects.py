"""Pairs made wrong on purpose, so that the validator has work; each defect is recorded with the pair.

The first five are the source's own rules; the others are what teachers do beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

from gemini_simulator.clause import Clause
from gemini_simulator.seeded_random import draw, rng
from insurance_rag.core.records import REFUSAL

Item = dict[str, Any]

#: How the defective pairs are made up; the source lost 783 cut off, 310 too short, 152 evasive, 9 duplicates of 6,688.
SHARES = {
    "cut_off": 0.25,
    "too_short": 0.14,
    "evasive": 0.10,
    "missing_field": 0.06,
    "duplicate_question": 0.05,
    "near_duplicate": 0.05,
    "invented_number": 0.07,
    "wrong_article": 0.06,
    "prompt_echo": 0.04,
    "not_standalone": 0.05,
    "foreign_tail": 0.05,
    "evidence_not_in_clause": 0.04,
    "refusal_where_answerable": 0.04,
}

_EVASIONS = (
    "해당 내용은 약관에 명시되어 있지 않습니다.",
    "제공된 약관만으로는 정확한 답변을 드리기 어렵습니다.",
    "자세한 사항은 보험사 고객센터에 문의하시기 바랍니다.",
    "구체적인 내용은 명시되어 있지 않으므로 확인이 필요합니다.",
)
_SHORT = ("네, 됩니다.", "아닙니다.", "가능해요.", "약관 참조.")
_TAILS = (
    " Este es un ejemplo de respuesta.",
    " Ich möchte mehr erfahren.",
    " 이번에 새로 나온 상품도 함께 살펴보세요.",
    " Thank you for your question, have a nice day.",
    " この保険についてもっと知りたいです。",
)
_ECHOES = (
    "### 지시\n아래 약관을 읽고 질문에 답하세요. ",
    "[요구사항] 답변은 약관에 근거해야 합니다. ",
    "질문: 위 내용에 대해 설명해 주세요. 답변: ",
)
_HERE = ("이 조항에서 ", "위 약관에 따르면 ", "본 조항에서는 ", "위 내용에서 ")
_NUMBER = re.compile(r"(?<![제\d,.])\d[\d,]*(?=\s?(?:만|억|천|원|%|일|개월|년|회|세|명|시간|영업일|배))")


def spoil_items(items: list[Item], clause: Clause, seed: int, share: float) -> list[Item]:
    """Every item with its `defect`, None where it is good. The first good item is what later ones duplicate."""
    rates = {name: share * part for name, part in SHARES.items()}
    spoilt: list[Item] = []
    for n, item in enumerate(items):
        parts = (seed, "defect", clause.text, item["type"], n)
        defect = None if item["type"] == "unanswerable" else draw(rates, *parts)
        first = next((other for other in spoilt if other["defect"] is None), None)
        changed = _SPOIL[defect](item, clause, rng(*parts, "how"), first) if defect else None
        spoilt.append({**changed, "defect": defect} if changed else {**item, "defect": None})
    return spoilt


Spoil = Callable[[Item, Clause, Random, Item | None], Item | None]


def _cut_off(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    answer = item["answer"]
    end = int(len(answer) * chance.uniform(0.5, 0.85))
    while end > 12 and answer[end - 1] in '.?!다요죠 )’”"':
        end -= 1
    return {**item, "answer": answer[:end]} if end > 12 else None


def _too_short(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    return {**item, "answer": chance.choice(_SHORT)}


def _evasive(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    cited = f"{clause.article}에 따르면 " if clause.article and chance.random() < 0.4 else ""
    return {**item, "answer": cited + chance.choice(_EVASIONS)}


def _missing_field(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    name = chance.choice(["question", "answer"])
    if chance.random() < 0.5:
        return {**item, name: ""}
    return {key: value for key, value in item.items() if key != name}


def _duplicate_question(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    return {**item, "question": first["question"]} if first else None


def _near_duplicate(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    if not first:
        return None
    question = re.sub(r"나요\?$", "는지요?", first["question"])
    question = question if question != first["question"] else re.sub(r"\?$", " ?", question)
    return {**item, "question": question, "answer": first["answer"], "evidence": first["evidence"]}


def _invented_number(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    numbers = list(_NUMBER.finditer(item["answer"]))
    if not numbers:
        return None
    found = chance.choice(numbers)
    value = int(found[0].replace(",", ""))
    candidates = (value * 2 + 11, value * 3 + 17, value + 13)
    other = next((f"{n:,}" for n in candidates if str(n) not in clause.text.replace(",", "")), None)
    return (
        {**item, "answer": item["answer"][: found.start()] + other + item["answer"][found.end() :]} if other else None
    )


def _wrong_article(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    if not clause.article or clause.article not in item["answer"]:
        return None
    other = next(a for n in range(chance.randint(41, 80), 200) if (a := f"제{n}조") not in clause.text)
    return {**item, "answer": item["answer"].replace(clause.article, other, 1)}


def _prompt_echo(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    return {**item, "answer": chance.choice(_ECHOES) + item["answer"]}


def _not_standalone(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    question = f"{chance.choice(_HERE)}{clause.title or '보험금'}에 관해 정한 내용은 무엇인가요?"
    return {**item, "question": question}


def _foreign_tail(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    return {**item, "answer": item["answer"] + chance.choice(_TAILS)}


def _evidence_not_in_clause(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    evidence = f"회사는 {clause.title or '보험금'}에 관하여 별도로 정한 내부 기준에 따라 처리합니다."
    return {**item, "evidence": evidence} if evidence not in clause.text else None


def _refusal_where_answerable(item: Item, clause: Clause, chance: Random, first: Item | None) -> Item | None:
    return {**item, "answer": f"{REFUSAL}."}


_SPOIL: dict[str, Spoil] = {
    "cut_off": _cut_off,
    "too_short": _too_short,
    "evasive": _evasive,
    "missing_field": _missing_field,
    "duplicate_question": _duplicate_question,
    "near_duplicate": _near_duplicate,
    "invented_number": _invented_number,
    "wrong_article": _wrong_article,
    "prompt_echo": _prompt_echo,
    "not_standalone": _not_standalone,
    "foreign_tail": _foreign_tail,
    "evidence_not_in_clause": _evidence_not_in_clause,
    "refusal_where_answerable": _refusal_where_answerable,
}
