"""Rules about the evidence of a row: whether it is there, is a quote from the chunk, and supports the answer."""

from __future__ import annotations

import re
from functools import lru_cache

from insurance_rag.dataset.style import shows_steps
from insurance_rag.korean import known_quantities, quantities, remove_whitespace, sentences, unsupported_quantities
from insurance_rag.korean.calculations import is_product
from insurance_rag.korean.equations import right_equations
from insurance_rag.korean.overlap import content_bigrams, covered_share
from insurance_rag.korean.quantities import Quantity
from insurance_rag.korean.roles import swapped_party
from insurance_rag.planning.prompt_spec import PROMPTS
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import ChunkText, RuleContext, rule

MAX_COVERED = 0.2
MIN_BETTER = 0.25
"""Evidence is about something else if it contains at most MAX_COVERED of the answer's bigrams, and another sentence of
the chunk at least MIN_BETTER more. This is so for none of 1,000 good pairs, and for 86 % of those pairs with a random
sentence of the chunk as evidence."""

_QUOTE_EDGES = " \"'“”‘’…."
_MARKS = re.compile(r"제\s?\d+\s?[조항호](?:의\s?\d+)?|^\s*(?:[①-⑳]|\(?\d{1,2}[.)]|[가-하][.)]|[-·•])", re.MULTILINE)
_LETTER = re.compile(r"[^\W_]")
_ITEM = re.compile(r"\s*(?:[①-⑳]|\(?\d{1,2}[.)]|[가-하][.)]|[-·•])|.*\|")
# A quantity before one of these is part of a condition, not of the result: `90일이 지난 뒤에는`, `4일 이상 입원하면`.
_CONDITION = re.compile(r"[^.,\n]{0,20}?(?:면(?=[\s,])|경우|때(?!문)|동안은|뒤에?는|후에?는)")


@rule("no_evidence", title="Evidence missing or too short", title_ko="근거 없음", repairable=True)
def no_evidence(row: Row, context: RuleContext) -> str | None:
    """The row answers a question with no evidence, or with evidence of fewer than `min_evidence` letters that is not a
    whole list item or row of a table. Rows of prompts that ask for no evidence may have none.
    """
    if not row.answerable:
        return None
    quote = row.evidence.strip()
    if not quote:
        return "no evidence" if gives_evidence(row) else None
    if len(_LETTER.findall(_MARKS.sub("", quote))) >= context.config.min_evidence:
        return None
    is_whole = _ITEM.match(quote) is not None and remove_whitespace(quote) in context.chunk(row).squeezed_lines
    return None if is_whole else quote


def gives_evidence(row: Row) -> bool:
    """Return whether the row's teacher was asked for evidence, by what `meta` says.

    If it names a prompt of the project (`prompt_version`), the text of the prompt decides: local_v1 asks for none. Any
    other prompt or teacher that it names counts as asked. Rows of the reference design name none.
    """
    prompt = str(row.meta.get("prompt_version") or "").partition("@")[0]
    asks = _prompts_with_evidence().get(prompt)
    return bool(prompt or row.meta.get("teacher")) if asks is None else asks


@lru_cache(maxsize=1)
def _prompts_with_evidence() -> dict[str, bool]:
    """Return for each prompt file whether it asks for evidence."""
    return {path.stem: "evidence" in path.read_text(encoding="utf-8") for path in PROMPTS.glob("*.txt")}


@rule("evidence", title="Evidence does not support the answer", title_ko="답변과 맞지 않는 근거", repairable=True)
def evidence(row: Row, context: RuleContext) -> str | None:
    """The row gives evidence that is not a quote from its chunk, that lacks a number of the answer, that names another
    party in its place, or that is about something else. A number may also be in the question, or be calculated from the
    evidence and the question.
    """
    if not row.evidence.strip() or not row.answerable:
        return None
    chunk = context.chunk(row)
    if not _is_quote(row.evidence, chunk):
        return row.evidence[:120]
    return _missing_number(row, chunk) or swapped_party(row.output, row.evidence) or _other_subject(row, chunk)


def _is_quote(text: str, chunk: ChunkText) -> bool:
    quote = remove_whitespace(text.strip(_QUOTE_EDGES))
    if quote in chunk.squeezed:
        return True
    pieces = [p for s in sentences(text) if (p := remove_whitespace(s.text.strip(_QUOTE_EDGES)))]
    return all(piece in chunk.squeezed for piece in pieces)


def _missing_number(row: Row, chunk: ChunkText) -> str | None:
    """Return a number of the answer's result that does not follow from the evidence and the question.

    A number of the chunk in a condition is none, because an answer may restate a condition from another sentence,
    unless the evidence states another number of the same unit that the answer leaves out. A calculation that shows its
    steps may use every number of the chunk; the rule `unsupported_number` checks it.
    """
    stated = quantities(row.output)
    if all(_is_written(quantity.text, row.evidence) for quantity in stated):
        return None
    known = known_quantities(row.evidence)
    if all(quantity.key in known for quantity in stated) or _calculates_in_words(row.output, stated):
        return None
    equations = right_equations(row.output)
    missing = unsupported_quantities(
        row.output, row.evidence, chunk.other, question=row.instruction, allow_rounding=False
    )
    unused = known - {quantity.key for quantity in stated}
    for quantity in missing:
        if any(equation.start <= quantity.start < equation.end for equation in equations):
            continue
        is_swapped = any(unit == quantity.unit for _, unit in unused)
        if is_swapped or not (quantity.key in chunk.amounts and _is_condition(row.output, quantity)):
            return quantity.text
    return None


def _is_written(number: str, text: str) -> bool:
    """Return whether the text contains the number as it is written, and not as the end of a longer one."""
    at = text.find(number)
    return at == 0 or (at > 0 and not text[at - 1].isdigit() and text[at - 1] not in ",.")


def _calculates_in_words(answer: str, stated: list[Quantity]) -> bool:
    """Return whether the answer shows a calculation without a formula: `3,000만원의 50%인 1,500만원`."""
    keys = {quantity.key for quantity in stated}
    return "=" not in answer and shows_steps(answer) and any(is_product(key, keys, keys) for key in keys)


def _is_condition(answer: str, quantity: Quantity) -> bool:
    return _CONDITION.match(answer, quantity.end) is not None


def _other_subject(row: Row, chunk: ChunkText) -> str | None:
    """Return the evidence if another sentence of the chunk shares much more words with the answer."""
    answer = content_bigrams(row.output)
    covered = covered_share(answer, content_bigrams(row.evidence) | content_bigrams(chunk.other))
    if covered > MAX_COVERED:
        return None
    numbers = {quantity.key for quantity in quantities(row.output)}
    if numbers & known_quantities(row.evidence):
        return None
    best = max((covered_share(answer, content_bigrams(s.text)) for s in chunk.sentences), default=0.0)
    return row.evidence[:120] if best >= covered + MIN_BETTER else None
