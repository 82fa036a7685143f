"""Plan which question-answer pairs to generate for a chunk, and in which style.

The plan depends only on the chunk's content and the prompt specification, so that a resumed run makes the same plan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, QuestionType
from insurance_rag.korean.articles import Article, articles
from insurance_rag.korean.quantities import quantities

if TYPE_CHECKING:
    from insurance_rag.planning.prompt_spec import PromptSpec

FORM_NOTES = {
    "yes": "예/아니요 질문(답은 네)",
    "no": "예/아니요 질문(답은 아니요)",
    "calculation": "계산이 필요한 질문",
    "two_chunks": "함께 볼 조항까지 보아야 답할 수 있는 질문",
}
"""Form of a question -> its description in the prompt. The type `unanswerable` already describes near misses."""
_CALCULABLE_UNITS = frozenset(["원", "%", "일", "영업일", "개월"])
# The end of the name of a law, after which an article belongs to this law: `상법 제651조`, `「보험업법」 제2조`.
_AFTER_LAW = re.compile(r"(?:법|법률|령|규칙|규정|기준|협약|약관|[」』》｣⌟])의?(?:\([^()\n]{1,30}\))?[\s,(]*$")
# The text between two articles of one list: `상법 제651조(고지의무) 및 제652조`.
_IN_LIST = re.compile(r"(?:\s?\([^()\n]{1,60}\))?[\s,·ㆍ]*(?:및|와|과|또는|내지|부터|~)?\s*")


@dataclass(frozen=True)
class PlannedPair:
    """One pair that the teacher is asked to write."""

    type: QuestionType
    note: str = ""
    """Korean text that describes to the teacher who asks, in which register, and in which form."""
    persona: str = ""
    register: str = ""
    difficulty: str = ""
    form: str = ""
    """`yes`, `no`, `calculation`, `two_chunks`, `near_miss`, or empty for an open question."""


def plan_pairs(spec: PromptSpec, chunk: Chunk, other: Chunk | None = None) -> tuple[PlannedPair, ...]:
    """Return the pairs to generate for a chunk, in the order of the question types.

    If `other` is given, the first `scenario` pair needs both chunks (see `second_article`). The pairs have no style if
    the prompt does not list them.
    """
    plain = [(kind, n) for kind in spec.types for n in range(spec.pairs_per_type)]
    if not spec.lists_items:
        return tuple(PlannedPair(kind) for kind, _ in plain)
    if "unanswerable" not in spec.types and _draw("near miss", chunk) < spec.questions.near_miss_share:
        plain.append(("unanswerable", 0))
    calculable = any(quantity.unit in _CALCULABLE_UNITS for quantity in quantities(chunk.text))
    pairs = []
    for kind, n in plain:
        two_chunks = other is not None and (kind, n) == ("scenario", 0)
        form = "two_chunks" if two_chunks else _form(spec, chunk, kind, n, calculable)
        pairs.append(_planned_pair(spec, chunk, kind, n, form))
    return tuple(pairs)


def second_article(spec: PromptSpec, chunk: Chunk) -> str | None:
    """Return the article, e.g. `제5조`, that a question about this chunk is to include; None for most chunks."""
    return cited_article(chunk) if asks_about_two(spec, chunk) else None


def asks_about_two(spec: PromptSpec, chunk: Chunk) -> bool:
    """Return whether a question about this chunk is to include a second one, if there is a suitable one."""
    wanted = spec.lists_items and "scenario" in spec.types
    return wanted and _draw("two chunks", chunk) < spec.questions.two_chunk_share


def cited_article(chunk: Chunk) -> str | None:
    """Return the first other article of the same document that the chunk cites, e.g. `제5조` or `제5조의2`.

    Articles of laws and of other documents (`상법 제651조`) do not count.
    """
    own = own_article(chunk)
    law_end = -1
    for reference in articles(chunk.text):
        in_list = law_end >= 0 and _IN_LIST.fullmatch(chunk.text, law_end, reference.start)
        if in_list or _AFTER_LAW.search(chunk.text, max(0, reference.start - 20), reference.start):
            law_end = reference.end
        elif (number := _number(reference)) and number != own:
            return number
    return None


def own_article(chunk: Chunk) -> str | None:
    """Return the article that the chunk's text begins with, e.g. `제5조`; None if it begins with other words."""
    found = articles(chunk.text)
    return _number(found[0]) if found and not chunk.text[: found[0].start].strip() else None


def _number(reference: Article) -> str | None:
    if reference.article is None:
        return None
    return f"제{reference.article}조" + (f"의{reference.branch}" if reference.branch else "")


def _form(spec: PromptSpec, chunk: Chunk, kind: QuestionType, n: int, calculable: bool) -> str:
    """Return the form of one pair. One random number decides, so that the shares of the forms are as configured."""
    if kind == "unanswerable":
        return "near_miss"
    draw = _draw("form", chunk, kind, str(n))
    calculations = spec.questions.calculation_share if kind == "scenario" and calculable else 0.0
    if draw < calculations:
        return "calculation"
    yes_no = spec.questions.yes_no_share
    if draw < calculations + yes_no / 2:
        return "yes"
    return "no" if draw < calculations + yes_no else ""


def _planned_pair(spec: PromptSpec, chunk: Chunk, kind: QuestionType, n: int, form: str) -> PlannedPair:
    """Return the pair with its style. Pairs of type `easy` have no difficulty, because the type implies it."""
    style = spec.questions

    def choose(purpose: str, options: Sequence[str]) -> str:
        return options[int(_draw(purpose, chunk, kind, str(n)) * len(options))] if options else ""

    persona = choose("persona", style.personas)
    register = choose("register", style.registers)
    difficulty = "" if kind == "easy" else choose("difficulty", style.difficulties)
    note = ", ".join(text for text in (persona, register, difficulty, FORM_NOTES.get(form, "")) if text)
    return PlannedPair(kind, note, persona, register, difficulty, form)


def _draw(purpose: str, chunk: Chunk, *parts: str) -> float:
    """Return a uniform random number in [0, 1) that depends only on the purpose, the chunk's text and `parts`."""
    return int(sha256_text(purpose, chunk.text, *parts)[:13], 16) / 16**13
