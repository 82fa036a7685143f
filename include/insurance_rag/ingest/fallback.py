"""Divide a document that has no articles: at its headings, or else at its pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insurance_rag.ingest.headings import (
    appendix_heading,
    division_heading,
    is_title_line,
    part_heading,
    without_separator,
)
from insurance_rag.ingest.outline import DividedBy, LeftOutParagraph, Outline, Section
from insurance_rag.ingest.paragraphs import Paragraph

MIN_HEADINGS = 2
"""A single heading is the title of the document."""
WHOLE = "본문"
"""Part of the text of a document without headings and pages."""
_NO_ARTICLES = "no articles (제N조) found; "


def divide_without_articles(
    paragraphs: Sequence[Paragraph],
    body_size: float,
    n_pages: int,
    left_out: Sequence[LeftOutParagraph],
    title: str,
) -> Outline:
    """Return an outline with one section per heading, per page, or with the whole text as one section."""
    headings = [i for i, p in enumerate(paragraphs) if _is_heading(p, body_size)]
    by: DividedBy = "headings" if len(headings) >= MIN_HEADINGS else "pages" if n_pages > 1 else "paragraphs"
    if by == "headings":
        sections = [*_by_headings(paragraphs, headings, without_separator(title))]
        warning = "divided at the headings instead"
    elif by == "pages":
        sections = [*_by_pages(paragraphs)]
        warning = "and no headings either; divided at the pages instead"
    else:
        sections = [_section(WHOLE, (), "", paragraphs)] if paragraphs else []
        warning = "and no headings either; divided by length instead"
    return Outline(title, tuple(sections), tuple(left_out), by, (_NO_ARTICLES + warning,))


def _is_heading(paragraph: Paragraph, body_size: float) -> bool:
    return bool(
        is_title_line(paragraph, body_size)
        or part_heading(paragraph)
        or division_heading(paragraph)
        or appendix_heading(paragraph)
    )


def _by_headings(paragraphs: Sequence[Paragraph], headings: Sequence[int], title: str) -> Iterator[Section]:
    """Yield one section per heading. Headings of a lower rank are divisions of the one above, except for the title."""
    if paragraphs[: headings[0]]:
        yield _section(WHOLE, (), "", paragraphs[: headings[0]])
    above: list[tuple[float, str]] = []
    pending: list[Paragraph] = []  # headings without text and without headings below them
    for i, end in zip(headings, [*headings[1:], len(paragraphs)], strict=True):
        paragraph = paragraphs[i]
        rank = float(paragraph.level) if paragraph.level is not None else 100.0 - paragraph.size
        above = [entry for entry in above if entry[0] < rank]
        above.append((rank, without_separator(paragraph.text)))
        body = paragraphs[i + 1 : end]
        pending = [p for p in pending if without_separator(p.text) not in (text for _, text in above)]
        if not body:
            pending.append(paragraph)
            continue
        body, pending = [*pending, *body], []
        names = [text for _, text in above]
        names = names[1:] if len(names) > 1 and names[0] == title else names
        yield _section(names[0], tuple(names[1:]), names[-1] if len(names) > 1 else "", body)
    if pending:
        yield _section(WHOLE, (), "", pending)


def _by_pages(paragraphs: Sequence[Paragraph]) -> Iterator[Section]:
    for page in sorted({p.page for p in paragraphs}):
        yield _section(f"{page}쪽", (), "", [p for p in paragraphs if p.page == page])


def _section(part: str, names: tuple[str, ...], heading: str, body: Sequence[Paragraph]) -> Section:
    divisions = names[:-1] if heading else names
    return Section(
        "text", part, divisions, "", heading, heading, tuple(body), body[0].page, max(p.page_end for p in body)
    )
