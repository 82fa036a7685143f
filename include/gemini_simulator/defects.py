"""Injects defects into the simulator's QA pairs, so that the validation rules have faults to find.

The first five defects in DEFECT_SHARES imitate failures reported for the reference design (docs/origin.md). The others
are typical failures of teacher models. Each defective pair records the name of its defect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from gemini_simulator.chunk_parser import ParsedChunk
from gemini_simulator.pairs import SimulatedPair
from gemini_simulator.seeded_random import choose_by_rate, seeded_rng
from insurance_rag.core.records import REFUSAL

#: Proportion of each defect among the defective pairs. The first values roughly follow the numbers reported for the
#: reference design: of 6,688 pairs, 783 were cut off, 310 were too short, 152 were evasive and 9 were duplicates.
DEFECT_SHARES = {
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
    "evidence_not_in_chunk": 0.04,
    "refusal_where_answerable": 0.04,
}

_EVASIONS = (
    "해당 내용은 약관에 명시되어 있지 않습니다.",
    "제공된 약관만으로는 정확한 답변을 드리기 어렵습니다.",
    "자세한 사항은 보험사 고객센터에 문의하시기 바랍니다.",
    "구체적인 내용은 명시되어 있지 않으므로 확인이 필요합니다.",
)
_SHORT_ANSWERS = ("네, 됩니다.", "아닙니다.", "가능해요.", "약관 참조.")
_FOREIGN_TAILS = (
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
_CHUNK_REFERENCES = ("이 조항에서 ", "위 약관에 따르면 ", "본 조항에서는 ", "위 내용에서 ")
#: A number followed by a unit. Article numbers (제7조) do not match.
_NUMBER = re.compile(r"(?<![제\d,.])\d[\d,]*(?=\s?(?:만|억|천|원|%|일|개월|년|회|세|명|시간|영업일|배))")


@dataclass(frozen=True)
class _Target:
    """A pair that gets a defect, with the data that injectors need.

    `first_good` is the answer's first pair without a defect. It is None if no such pair comes before this pair.
    """

    pair: SimulatedPair
    chunk: ParsedChunk
    rng: Random
    first_good: SimulatedPair | None


def inject_defects(
    pairs: Sequence[SimulatedPair], slots: Sequence[int], chunk: ParsedChunk, seed: int, share: float
) -> list[SimulatedPair]:
    """Inject a defect into some of the pairs, and return all pairs.

    `share` is the approximate fraction of pairs that get a defect. The draws depend on the pairs' types and slots (see
    chunk_sections.WantedPair). A changed pair has the name of the defect in its `defect` field. Pairs with unanswerable
    questions are not changed.
    """
    rates = {name: share * part for name, part in DEFECT_SHARES.items()}
    result: list[SimulatedPair] = []
    for slot, pair in zip(slots, pairs, strict=True):
        parts = (seed, "defect", chunk.text, pair.type, slot)
        defect = None if pair.type == "unanswerable" else choose_by_rate(rates, *parts)
        first_good = next((other for other in result if other.defect is None), None)
        changed = None
        if defect:
            changed = _INJECTORS[defect](_Target(pair, chunk, seeded_rng(*parts, "how"), first_good))
        result.append(replace(changed, defect=defect) if changed else pair)
    return result


#: A function that adds one specific defect to a pair. It returns the changed pair, or None if this pair cannot have the
#: defect.
DefectInjector = Callable[[_Target], SimulatedPair | None]


def _cut_off(target: _Target) -> SimulatedPair | None:
    answer = target.pair.answer
    end = int(len(answer) * target.rng.uniform(0.5, 0.85))
    while end > 12 and answer[end - 1] in '.?!다요죠 )’”"':
        end -= 1
    return replace(target.pair, answer=answer[:end]) if end > 12 else None


def _too_short(target: _Target) -> SimulatedPair:
    return replace(target.pair, answer=target.rng.choice(_SHORT_ANSWERS))


def _evasive(target: _Target) -> SimulatedPair:
    article = target.chunk.article
    citation = f"{article}에 따르면 " if article and target.rng.random() < 0.4 else ""
    return replace(target.pair, answer=citation + target.rng.choice(_EVASIONS))


def _missing_field(target: _Target) -> SimulatedPair:
    """Empty the question or the answer. In half of the cases, also omit the field from the JSON."""
    name = target.rng.choice(["question", "answer"])
    omitted = None if target.rng.random() < 0.5 else name
    if name == "question":
        return replace(target.pair, question="", omitted_field=omitted)
    return replace(target.pair, answer="", omitted_field=omitted)


def _duplicate_question(target: _Target) -> SimulatedPair | None:
    return replace(target.pair, question=target.first_good.question) if target.first_good else None


def _near_duplicate(target: _Target) -> SimulatedPair | None:
    first = target.first_good
    if not first:
        return None
    question = re.sub(r"나요\?$", "는지요?", first.question)
    question = question if question != first.question else re.sub(r"\?$", " ?", question)
    return replace(target.pair, question=question, answer=first.answer, evidence=first.evidence)


def _invented_number(target: _Target) -> SimulatedPair | None:
    """Replace one number in the answer with a number that is not in the chunk."""
    answer = target.pair.answer
    numbers = list(_NUMBER.finditer(answer))
    if not numbers:
        return None
    found = target.rng.choice(numbers)
    value = int(found[0].replace(",", ""))
    candidates = (value * 2 + 11, value * 3 + 17, value + 13)
    other = next((f"{n:,}" for n in candidates if str(n) not in target.chunk.text.replace(",", "")), None)
    return replace(target.pair, answer=answer[: found.start()] + other + answer[found.end() :]) if other else None


def _wrong_article(target: _Target) -> SimulatedPair | None:
    chunk, answer = target.chunk, target.pair.answer
    if not chunk.article or chunk.article not in answer:
        return None
    other = next(a for n in range(target.rng.randint(41, 80), 200) if (a := f"제{n}조") not in chunk.text)
    return replace(target.pair, answer=answer.replace(chunk.article, other, 1))


def _prompt_echo(target: _Target) -> SimulatedPair:
    return replace(target.pair, answer=target.rng.choice(_ECHOES) + target.pair.answer)


def _not_standalone(target: _Target) -> SimulatedPair:
    subject = target.chunk.title or "보험금"
    question = f"{target.rng.choice(_CHUNK_REFERENCES)}{subject}에 관해 정한 내용은 무엇인가요?"
    return replace(target.pair, question=question)


def _foreign_tail(target: _Target) -> SimulatedPair:
    return replace(target.pair, answer=target.pair.answer + target.rng.choice(_FOREIGN_TAILS))


def _evidence_not_in_chunk(target: _Target) -> SimulatedPair | None:
    subject = target.chunk.title or "보험금"
    evidence = f"회사는 {subject}에 관하여 별도로 정한 내부 기준에 따라 처리합니다."
    return replace(target.pair, evidence=evidence) if evidence not in target.chunk.text else None


def _refusal_where_answerable(target: _Target) -> SimulatedPair:
    return replace(target.pair, answer=f"{REFUSAL}.")


_INJECTORS: dict[str, DefectInjector] = {
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
    "evidence_not_in_chunk": _evidence_not_in_chunk,
    "refusal_where_answerable": _refusal_where_answerable,
}
