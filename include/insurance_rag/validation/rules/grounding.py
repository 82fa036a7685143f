"""Rules that compare a row with the chunk from which it was generated."""

from __future__ import annotations

from insurance_rag.korean import articles, known_quantities, quantities, remove_whitespace, sentences, unsupported
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule

_QUOTE_EDGES = " \"'“”‘’…."


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
    """The row cites an article, a paragraph or an item that appears neither in its chunk nor in its question."""
    cited = articles(row.output)
    if not cited:
        return None
    known = context.chunk(row).levels | {level for a in articles(row.instruction) for level in a.levels}
    return next((a.text for a in cited if not known.issuperset(a.levels)), None)


@rule("unsupported_number", title="Number not in the chunk", title_ko="청크에 없는 숫자", repairable=True)
def unsupported_number(row: Row, context: RuleContext) -> str | None:
    """The row states an amount, period, percentage or count that appears neither in its chunk nor in its question."""
    stated = quantities(row.output)
    if not stated:
        return None
    missing = unsupported(stated, context.chunk(row).amounts, known_quantities(row.instruction))
    return missing[0].text if missing else None


@rule("evidence", title="Evidence not in the chunk", title_ko="청크에 없는 근거", repairable=True)
def evidence(row: Row, context: RuleContext) -> str | None:
    """The row gives evidence that is not a quote from its chunk."""
    quote = remove_whitespace(row.evidence.strip(_QUOTE_EDGES))
    if not quote or not row.answerable:
        return None
    chunk = context.chunk(row).squeezed
    pieces = [p for s in sentences(row.evidence) if (p := remove_whitespace(s.text.strip(_QUOTE_EDGES)))]
    return None if quote in chunk or all(p in chunk for p in pieces) else row.evidence[:120]
