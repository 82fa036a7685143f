"""Rules that compare a row with the chunk from which it was generated."""

from __future__ import annotations

import re

from insurance_rag.korean import (
    Article,
    articles,
    known_quantities,
    quantities,
    remove_whitespace,
    unsupported,
    unsupported_quantities,
)
from insurance_rag.korean.articles import cited_as_source
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import ChunkText, RuleContext, rule

_ACCORDING = re.compile(r"(?:\s?\([^()\n]{1,60}\))?에\s?(?:따라|의해)")


@rule("unknown_chunk", title="Unknown chunk", title_ko="알 수 없는 청크", repairable=False)
def unknown_chunk(row: Row, context: RuleContext) -> str | None:
    """The row's chunk is not in the chunk file, because it was changed or removed after generation."""
    return f"no chunk {row.chunk_id!r}" if context.chunks is not None and row.chunk_id not in context.chunks else None


@rule("stale_chunk", title="Chunk has changed", title_ko="변경된 청크", repairable=False)
def stale_chunk(row: Row, context: RuleContext) -> str | None:
    """The row has an input that differs from the current text of its chunk."""
    if context.chunks is None or not row.input.strip() or row.chunk_id not in context.chunks:
        return None
    given, now = remove_whitespace(row.input), context.chunks[row.chunk_id].squeezed
    return None if given in now or now in given else row.input[:80]


@rule("unsupported_article", title="Article not in the chunk", title_ko="청크에 없는 조항 번호", repairable=True)
def unsupported_article(row: Row, context: RuleContext) -> str | None:
    """The row cites an article, a paragraph or an item that appears neither in its chunk nor in its question, or names
    an article as its source that the chunk only refers to.
    """
    cited = articles(row.output)
    if not cited:
        return None
    chunk = context.chunk(row)
    asked = {level for a in articles(row.instruction) for level in a.levels}
    missing = next((a.text for a in cited if not all(n in chunk.levels or n in asked for n in a.levels)), None)
    return missing or _wrong_source(row.output, cited, chunk, asked)


def _wrong_source(
    answer: str, cited: list[Article], chunk: ChunkText, asked: set[tuple[str, int, int | None]]
) -> str | None:
    """Return the article that the answer names as its source although the chunk only refers to it.

    In a chunk of 제7조, `제7조에 따르면, 제33조에 따라 해지된 때에는 ...` is right. So is a phrase of the chunk such as
    `제33조에 따라 해지된 때`.
    """
    own = chunk.own_articles
    if not own or any((a.article, a.branch) in own for a in cited):
        return None
    for source in cited_as_source(answer):
        phrase = _restated_phrase(answer, source)
        is_restated = phrase is not None and re.search(phrase, chunk.text) is not None
        if ("조", source.article, source.branch) not in asked and not is_restated:
            return source.text
    return None


def _restated_phrase(answer: str, source: Article) -> str | None:
    """Return a pattern for a reference such as `제33조에 따라`, with or without a title; None for `제33조에 따르면`."""
    found = _ACCORDING.match(answer, source.end)
    return rf"{re.escape(source.text)}(?:\s?\([^()\n]{{1,60}}\))?에\s?(?:따라|따른|의하여|의한|의해)" if found else None


@rule("unsupported_number", title="Number not in the chunk", title_ko="청크에 없는 숫자", repairable=True)
def unsupported_number(row: Row, context: RuleContext) -> str | None:
    """The row states an amount, period, percentage or count that appears neither in its chunk nor in its question, and
    that cannot be calculated from these.
    """
    stated = quantities(row.output)
    if not stated:
        return None
    chunk = context.chunk(row)
    if not unsupported(stated, chunk.amounts, known_quantities(row.instruction)):
        return None
    # The fast test knows no examples, results of long calculations and the like.
    missing = unsupported_quantities(row.output, chunk.text, question=row.instruction, allow_rounding=False)
    return missing[0].text if missing else None
