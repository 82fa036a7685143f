"""Divide a document into sections: articles, appendices, and text under other headings."""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.ingest.contents import find_contents
from insurance_rag.ingest.fallback import divide_without_articles
from insurance_rag.ingest.headings import PRELUDES, article_heading, division_heading, is_title_line, part_heading
from insurance_rag.ingest.numbering import choose_headings
from insurance_rag.ingest.numbering_problems import numbering_problems
from insurance_rag.ingest.outline import LeftOutParagraph, Outline
from insurance_rag.ingest.paragraphs import Paragraph
from insurance_rag.ingest.parts import find_parts
from insurance_rag.ingest.product import find_title, product_of_part
from insurance_rag.ingest.quoted_laws import lower_scores_of_laws
from insurance_rag.ingest.sections import SectionWalk

MAX_COVER_CHARACTERS = 400
"""A first page with more text than this is not a cover."""


def read_outline(paragraphs: Sequence[Paragraph], n_pages: int) -> Outline:
    """Return the sections of a document.

    A document without articles is divided at headings, or else at pages; the warnings say so.
    """
    contents = find_contents(paragraphs)
    kept = [p for i, p in enumerate(paragraphs) if i not in contents]
    left_out = [LeftOutParagraph(paragraphs[i], "contents") for i in sorted(contents)]
    candidates = [heading for i, p in enumerate(kept) if (heading := article_heading(p, i))]
    names = [i for i, p in enumerate(kept) if part_heading(p)]
    size = body_size(kept)
    titles = [i for i, p in enumerate(kept) if division_heading(p) or is_title_line(p, size)]
    headings = choose_headings(lower_scores_of_laws(candidates, kept), names, titles)
    if not headings:
        return divide_without_articles(kept, size, n_pages, left_out, find_title(kept))
    parts = find_parts(kept, headings, size)
    cover = _cover(kept, parts[0].index if parts else headings[0].index)
    left_out += [LeftOutParagraph(kept[i], "cover") for i in sorted(cover)]
    title = next((name for part in parts if (name := product_of_part(part.title))), "") or find_title(kept)
    walk = SectionWalk(kept, {h.index: h for h in headings}, {p.index: p for p in parts}, title, size)
    sections = walk.sections(cover)
    left_out += walk.left_out
    return Outline(title, tuple(sections), tuple(left_out), "articles", tuple(numbering_problems(sections)))


def body_size(paragraphs: Sequence[Paragraph]) -> float:
    """Return the font size that most characters have; 0 if unknown."""
    counts: dict[float, int] = {}
    for paragraph in paragraphs:
        if paragraph.size:
            size = round(paragraph.size, 1)
            counts[size] = counts.get(size, 0) + len(paragraph.text)
    return max(counts, key=lambda size: counts[size], default=0.0)


def _cover(paragraphs: Sequence[Paragraph], first_part: int) -> set[int]:
    """Return the paragraphs of the title page: a first page with little text and no sentences."""
    page = [i for i in range(first_part) if paragraphs[i].page <= 1]
    if paragraphs[0].page == 0:  # without pages, the cover ends at the first heading
        page = page[: next((k for k, i in enumerate(page) if PRELUDES.match(paragraphs[i].text)), len(page))]
    texts = [paragraphs[i].text for i in page]
    is_cover = sum(map(len, texts)) <= MAX_COVER_CHARACTERS and not any(text.endswith("다.") for text in texts)
    return set(page) if is_cover else set()
