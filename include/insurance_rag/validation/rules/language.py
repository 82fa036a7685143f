"""Rules about the language in which questions and answers are written."""

from __future__ import annotations

import re

from insurance_rag.korean import advertising, foreign_tail, hangul_share
from insurance_rag.korean.degeneration import promotion
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule

_LATIN_WORD = re.compile("[A-Za-z]+")


@rule("foreign_tail", title="Foreign or advertising text", title_ko="외국어 또는 광고 문구", repairable=True)
def has_foreign_tail(row: Row, context: RuleContext) -> str | None:
    """The row contains foreign-language or advertising text that does not occur in its chunk. A question may ask about
    gifts or discounts.
    """
    chunk = context.chunk(row).text
    span = foreign_tail(row.output, chunk) or advertising(row.output, chunk)
    span = span or foreign_tail(row.instruction, chunk) or promotion(row.instruction, chunk)
    return span.text if span else None


@rule("not_korean", title="Not in Korean", title_ko="한국어가 아님", repairable=True)
def not_korean(row: Row, context: RuleContext) -> str | None:
    """The fraction of Korean letters in the question or the answer is below `min_korean`. Latin words that occur in the
    chunk do not count.
    """
    least = context.config.min_korean
    for text in (row.instruction, row.output):
        if hangul_share(text) < least:
            foreign = [word for word in _LATIN_WORD.findall(text) if word not in context.chunk(row).text]
            if hangul_share(" ".join([*foreign, _LATIN_WORD.sub("", text)])) < least:
                return text
    return None
