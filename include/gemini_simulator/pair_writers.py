"""Writes a Korean question and answer about one statement from a chunk. There is one writer per question type."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from gemini_simulator.chunk_parser import ParsedChunk, Statement
from gemini_simulator.korean_grammar import as_question, ask_for_number, in_plain_words
from insurance_rag.core.records import REFUSAL
from insurance_rag.korean.particles import with_particle

#: Maximum length of a sentence that is turned into a question. For a longer sentence, the question is made from the
#: chunk's title instead.
MAX_QUESTION_CHARS = 110

#: `이 계약` (this contract), `본 약관` (these terms) and similar phrases, with the particle that follows.
_THIS_CONTRACT = re.compile(
    r"(?<![가-힣])(?:이|본) (?:보험계약|계약|약관|보험|특약)(?:(은|는|이|가|을|를|과)(?=\s)|(?=에|의|\s))"
)
#: Definition of a short form, e.g. `(이하 "계약자"라 합니다)`. Definitions are removed from questions.
_DEFINED_TERM = re.compile(r"\(이하 .*?\)")
#: Question words (how much, how, what, ...). A question with such a word is not a yes-or-no question.
_QUESTION_WORD = re.compile(r"며칠|몇 |얼마|어떻게|어떤|무엇")
#: A condition at the start of a sentence: `... 한 경우에는`, `... 할 때`.
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
_OPEN_QUESTIONS = ("어떻게 정해져 있나요?", "어떤 내용인가요?", "어떻게 되나요?")
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
class WriterInput:
    """Input for writing one pair."""

    chunk: ParsedChunk
    statement: Statement
    product: str
    """Product name to use in the question."""
    rng: Random
    statement_used: bool
    """Whether an earlier question used this statement. If true, the new question asks about the chunk's subject."""


#: A function that returns a question and its answer.
PairWriter = Callable[[WriterInput], tuple[str, str]]


def write_pair(question_type: str, given: WriterInput) -> tuple[str, str]:
    """Return a question of this type and its answer. Unknown types are treated as `fact`."""
    return _WRITERS.get(question_type, _fact)(given)


def _fact(given: WriterInput) -> tuple[str, str]:
    question = _question(given, given.product, _FACT_OPENINGS, given.statement_used)
    return question, _cited_answer(given)


def _scenario(given: WriterInput) -> tuple[str, str]:
    statement, rng = given.statement, given.rng
    opening = rng.choice(_SCENARIO_OPENINGS).format(product=given.product)
    condition = _CONDITION.match(statement.evidence)
    if statement.kind == "item":
        question = f"{opening}혹시 ‘{statement.head}’에 해당하는 일이 생기면 어떻게 되나요?"
    elif statement.kind == "sentence" and condition and statement.is_self_contained:
        question = f"{opening}{condition[1]}에는 어떻게 되나요?"
        question = _name_product(_DEFINED_TERM.sub("", question), opening, "")
    else:
        question = opening + _question(given, "", ("",), given.statement_used)
    return question, _yes(question, rng) + _cited_answer(given) + rng.choice(_ADVICE)


def _easy(given: WriterInput) -> tuple[str, str]:
    about_subject = given.statement_used or given.rng.random() < 0.2
    question = _question(given, given.product, _EASY_OPENINGS, about_subject)
    return question, _yes(question, given.rng) + in_plain_words(_cited_answer(given))


def _unanswerable(given: WriterInput) -> tuple[str, str]:
    title = given.chunk.title or "보험금 지급"
    return given.rng.choice(_UNANSWERABLE).format(product=given.product, title=title), f"{REFUSAL}."


_WRITERS: dict[str, PairWriter] = {
    "fact": _fact,
    "scenario": _scenario,
    "easy": _easy,
    "unanswerable": _unanswerable,
}


def _question(given: WriterInput, product: str, openings: Sequence[str], about_subject: bool) -> str:
    """Return a question that the statement answers.

    `about_subject` matters only if the statement is a sentence. If it is true, the question asks about the chunk's
    subject in general.
    """
    chunk, statement, rng = given.chunk, given.statement, given.rng
    opening = rng.choice(openings).format(product=product)
    if statement.kind == "row":
        column = with_particle(f"‘{statement.head}’의 {statement.column}", "은")
        return f"{opening}{column} {_ask_for_cell(statement.cell)}"
    if statement.kind == "term":
        particle = with_particle(statement.head, "이란")[len(statement.head) :]
        return f"{opening}‘{statement.head}’{particle} 무엇을 말하나요?"
    if statement.kind == "item":
        return f"{opening}‘{statement.head}’도 {_subject(chunk)}에 들어가나요?"
    sentence = re.split(r"(?<=다\.)\s", statement.evidence)[0]
    if not about_subject and statement.is_self_contained and len(sentence) <= MAX_QUESTION_CHARS:
        question = ask_for_number(sentence) or as_question(sentence)
        if question:
            return _name_product(opening + _DEFINED_TERM.sub("", question), opening, product)
    return f"{opening}{with_particle(_subject(chunk), '은')} {rng.choice(_OPEN_QUESTIONS)}"


def _yes(question: str, rng: Random) -> str:
    """Return "네, " (yes) for half of the yes-or-no questions, and an empty string for all other questions.

    Only half of them get this word because only some teachers start their answers with it. The answer is never no:
    yes-or-no questions are built from statements in the chunk.
    """
    return "네, " if not _QUESTION_WORD.search(question) and rng.random() < 0.5 else ""


def _subject(chunk: ParsedChunk) -> str:
    return chunk.title or "보장 내용"


def _name_product(question: str, opening: str, product: str) -> str:
    """Replace phrases such as `이 계약` (this contract) with the product name.

    Such phrases are unclear without the chunk. If a phrase was replaced, the question's opening is removed. Otherwise,
    the product would be named twice.
    """
    named = _THIS_CONTRACT.sub(lambda found: _with_particle(product or "이 상품", found[1]), question)
    if named == question or not product:
        return named
    return named.removeprefix(opening)


def _with_particle(word: str, particle: str | None) -> str:
    after_final = {"는": "은", "가": "이", "를": "을"}
    return with_particle(word, after_final.get(particle, particle)) if particle else word


def _ask_for_cell(cell: str) -> str:
    return "얼마인가요?" if re.search(r"\d\s*(?:[억만천백]*\s*원|%)", cell) else "어떻게 되나요?"


def _cited_answer(given: WriterInput) -> str:
    """Return the statement as an answer that cites the chunk's article."""
    chunk = given.chunk
    citation = chunk.article
    if citation and chunk.title and given.rng.random() < 0.3:
        citation = f"{citation}({chunk.title})"
    return f"{citation or '약관'}에 따르면 {_as_answer(chunk, given.statement)}"


def _as_answer(chunk: ParsedChunk, statement: Statement) -> str:
    head = f"‘{statement.head}’{with_particle(statement.head, '은')[len(statement.head) :]}"
    if statement.kind == "row":
        return f"{with_particle(f'‘{statement.head}’의 {statement.column}', '은')} {statement.cell}입니다."
    if statement.kind == "term":
        meaning = statement.evidence.partition(":")[2].strip()
        whole = meaning if meaning.endswith("다.") else f"{with_particle(meaning.rstrip('.'), '을')} 말합니다."
        return f"{head} {whole}"
    if statement.kind == "item":
        rest = statement.evidence[len(statement.head) :].lstrip(". ")
        exception = f" {rest}" if rest.endswith("다.") else ""
        return f"{head} {_subject(chunk)}에 포함됩니다.{exception}"
    return statement.evidence
