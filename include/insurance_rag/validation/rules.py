"""The rules that look at one row: each says what is wrong with it, by the span at fault, or None.

The spec's five come first (`duplicate`, which compares rows, stands in `sets.py`). Their order is configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from insurance_rag.config import ValidationConfig
from insurance_rag.korean import (
    advertising,
    articles,
    ends_as_sentence,
    evasion,
    foreign_tail,
    hangul_share,
    is_open_ended,
    named_levels,
    prompt_echo,
    quantities,
    refusal,
    repetition,
    sentences,
    squeeze,
    unsupported,
)
from insurance_rag.validation.rows import Row


@dataclass(frozen=True)
class Clause:
    """A clause with what the grounding rules look up in it, read once."""

    text: str

    @cached_property
    def squeezed(self) -> str:
        return squeeze(self.text)

    @cached_property
    def amounts(self) -> set[tuple[float, str]]:
        stated = {q.key for q in quantities(self.text)}
        return stated | {(100.0, "%")} if "전액" in self.text or "전부" in self.text else stated

    @cached_property
    def levels(self) -> set[tuple[str, int, int | None]]:
        return named_levels(self.text)


@dataclass(frozen=True)
class Context:
    """What a row is judged against. `clauses` is None where no clauses were given."""

    config: ValidationConfig
    clauses: Mapping[str, Clause] | None = None
    leaking: frozenset[str] = frozenset()
    questions: frozenset[str] = frozenset()

    def clause(self, row: Row) -> Clause:
        """The clause the row was drawn from; the row's own input where the clauses are not known."""
        known = self.clauses.get(row.chunk_id) if self.clauses is not None else None
        return known or Clause(row.input)


Rule = Callable[[Row, Context], str | None]


# ---- the spec's


def required_fields(row: Row, context: Context) -> str | None:
    """`instruction` and `output` are there and not blank."""
    lacking = [name for name in ("instruction", "output") if not getattr(row, name).strip()]
    return f"no {' and no '.join(lacking)}" if lacking else None


def too_short(row: Row, context: Context) -> str | None:
    """The answer has fewer than 10 characters."""
    return row.output if len(row.output) < context.config.min_output else None


def cut_off(row: Row, context: Context) -> str | None:
    """The answer does not end as a sentence."""
    return None if ends_as_sentence(row.output) else row.output[-20:]


def evasive(row: Row, context: Context) -> str | None:
    """The answer evades ("명시되어 있지 않습니다"), and no refusal was asked for."""
    if not row.answerable:  # a refusal that was asked for
        return None
    span = evasion(row.output)
    if span is None or (context.config.keep_partial_evasions and refusal(row.output) == "partial"):
        return None
    return span.text


# ---- beyond it: the row by itself


def malformed(row: Row, context: Context) -> str | None:
    """No object, a number for a string, far too long, not Unicode."""
    return row.problem


def missed_refusal(row: Row, context: Context) -> str | None:
    """Labelled unanswerable, and yet it answers."""
    return row.output if not row.answerable and refusal(row.output) != "full" else None


def echoes_prompt(row: Row, context: Context) -> str | None:
    """The answer repeats its prompt or its question."""
    span = prompt_echo(row.output, row.instruction) or prompt_echo(row.instruction)
    return span.text if span else None


def has_foreign_tail(row: Row, context: Context) -> str | None:
    """Foreign or advertising text that the clause does not hold."""
    clause = context.clause(row).text
    for text in (row.output, row.instruction):
        if span := foreign_tail(text, clause) or advertising(text, clause):
            return span.text
    return None


def repeats_itself(row: Row, context: Context) -> str | None:
    """A loop of phrases or sentences."""
    span = repetition(row.output)
    return span.text if span else None


def not_korean(row: Row, context: Context) -> str | None:
    """Question or answer is not in Korean; foreign words of the clause are no fault."""
    least = context.config.min_korean
    for text in (row.instruction, row.output):
        if hangul_share(text) < least:
            foreign = [word for word in _LATIN_WORD.findall(text) if word not in context.clause(row).text]
            if hangul_share(" ".join([*foreign, _LATIN_WORD.sub("", text)])) < least:
                return text
    return None


_LATIN_WORD = re.compile("[A-Za-z]+")


def open_ended(row: Row, context: Context) -> str | None:
    """The spec's list takes the ending for one, and it is none: `서류가 필요`, `1년마다`, `지급하며...`."""
    return row.output[-20:] if is_open_ended(row.output) else None


_POINTS_AT_CLAUSE = re.compile(
    r"(?:^|[\s,])(?:이|위|본|해당|상기|다음|아래|앞|제시된|제공된|주어진)\s?(?:의\s)?(?:조항|약관|내용|조문|본문|문서|문장|지문|글|규정|항목|표)"
    r"(?!에서\s정한\s(?:질병|재해))|상기\s|앞서\s(?:언급|설명|말)|본문|지문에|윗글"
)


def not_standalone(row: Row, context: Context) -> str | None:
    """The question points at a text its reader does not have, or asks nothing."""
    if match := _POINTS_AT_CLAUSE.search(row.instruction):
        return match.group().strip()
    return row.instruction if len(squeeze(row.instruction)) < 5 else None


# ---- beyond it: the row against its clause


def unknown_chunk(row: Row, context: Context) -> str | None:
    """Its clause is none of this run's; it was changed or removed since."""
    return f"no chunk {row.chunk_id!r}" if context.clauses is not None and row.chunk_id not in context.clauses else None


def stale_clause(row: Row, context: Context) -> str | None:
    """Its input is not the text its chunk has now."""
    if context.clauses is None or not row.input.strip() or row.chunk_id not in context.clauses:
        return None
    given, now = squeeze(row.input), context.clauses[row.chunk_id].squeezed
    return None if given in now or now in given else row.input[:80]


def unsupported_article(row: Row, context: Context) -> str | None:
    """It cites an article, paragraph or item that its clause neither is nor names."""
    cited = articles(row.output)
    if not cited:
        return None
    known = context.clause(row).levels | {level for a in articles(row.instruction) for level in a.levels}
    return next((a.text for a in cited if not known.issuperset(a.levels)), None)


def unsupported_number(row: Row, context: Context) -> str | None:
    """It states an amount, period, share or count that neither clause nor question has."""
    stated = quantities(row.output)
    if not stated:
        return None
    known = context.clause(row).amounts | {q.key for q in quantities(row.instruction)}
    missing = unsupported(stated, known)
    return missing[0].text if missing else None


def evidence(row: Row, context: Context) -> str | None:
    """Its evidence is no quote of its clause."""
    quote = squeeze(row.evidence.strip(" \"'“”‘’…."))
    if not quote or not row.answerable:
        return None
    clause = context.clause(row).squeezed
    pieces = [p for s in sentences(row.evidence) if (p := squeeze(s.text.strip(" \"'“”‘’….")))]
    return None if quote in clause or all(p in clause for p in pieces) else row.evidence[:120]


def leak(row: Row, context: Context) -> str | None:
    """Its clause is, but for a word or so, that of an evaluation question; or it asks an evaluation question."""
    if row.chunk_id in context.leaking:
        return f"{row.chunk_id} repeats a gold clause of the evaluation"
    return row.instruction if context.questions and squeeze(row.instruction) in context.questions else None


#: name (the reason in the report) -> rule
RULES: dict[str, Rule] = {
    "malformed": malformed,
    "required_fields": required_fields,
    "too_short": too_short,
    "cut_off": cut_off,
    "evasive": evasive,
    "missed_refusal": missed_refusal,
    "unknown_chunk": unknown_chunk,
    "stale_clause": stale_clause,
    "prompt_echo": echoes_prompt,
    "foreign_tail": has_foreign_tail,
    "repetition": repeats_itself,
    "not_korean": not_korean,
    "open_ended": open_ended,
    "not_standalone": not_standalone,
    "unsupported_article": unsupported_article,
    "unsupported_number": unsupported_number,
    "evidence": evidence,
    "leak": leak,
}

#: Rules that need more than the row: other rows (`sets.py`), the retriever (`ranks.py`).
SET_RULES = ("duplicate", "near_duplicate", "not_retrieved")

#: Reasons that another try of the teacher can mend.
REPAIRABLE = frozenset(RULES) - {"unknown_chunk", "stale_clause", "leak", "malformed"}
