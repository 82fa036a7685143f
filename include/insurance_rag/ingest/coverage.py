"""Measure how much of a document's text is in its chunks, by searching each line in the chunks of its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from insurance_rag.core.records import Chunk
from insurance_rag.core.records.ingest import LeftOut, PageCoverage
from insurance_rag.ingest.document import Document, Line, Table
from insurance_rag.ingest.outline import Outline
from insurance_rag.korean import clean, remove_whitespace

GRAM = 6
"""A line that is not in the chunks as a whole is compared by its substrings of this length."""
_WITHOUT_BRACKETS = str.maketrans("", "", "()（）[]［］【】<>〈〉《》〔〕")
MIN_COVERED = 0.8
"""A line with a lower fraction of covered characters is listed as left out."""


@dataclass(frozen=True)
class Coverage:
    """Coverage per page, and what was left out, in document order."""

    pages: tuple[PageCoverage, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def characters(self) -> int:
        return sum(page.characters for page in self.pages)

    @property
    def covered(self) -> int:
        return sum(page.covered for page in self.pages)


def measure_coverage(document: Document, outline: Outline, chunks: Sequence[Chunk]) -> Coverage:
    """Return how many characters of the body are in chunks.

    Page numbers, headers, contents and the like are not part of the body; they are listed with the reason.
    """
    texts = _texts_by_page(document, chunks)
    reasons: dict[int, dict[str, str]] = {}
    for left in outline.left_out:
        for page in range(left.paragraph.page, left.paragraph.page_end + 1):
            reasons.setdefault(page, {})[_normalized(left.paragraph.text)] = left.reason
    characters: dict[int, int] = dict.fromkeys(range(1, document.n_pages + 1), 0)
    covered: dict[int, int] = {}
    left_out = [
        LeftOut(page=r.page, reason=r.reason, text=r.text, characters=_length(r.text)) for r in document.removed
    ]
    for page, text in _block_texts(document):
        body = _normalized(text)
        n = _covered_characters(body, texts.get(page, ""))
        if n < MIN_COVERED * len(body):
            reason = next((why for other, why in reasons.get(page, {}).items() if body in other), None)
            left_out.append(LeftOut(page=page, reason=reason or "not in a chunk", text=text, characters=len(body)))
            if reason:
                continue
        characters[page] = characters.get(page, 0) + len(body)
        covered[page] = covered.get(page, 0) + n
    pages = tuple(
        PageCoverage(page=page, characters=n, covered=covered.get(page, 0)) for page, n in sorted(characters.items())
    )
    return Coverage(pages, tuple(sorted(left_out, key=lambda left: left.page)))


def _texts_by_page(document: Document, chunks: Sequence[Chunk]) -> dict[int, str]:
    """Return the text of the chunks of each page, with their headings."""
    texts: dict[int, list[str]] = {}
    for chunk in chunks:
        first, last = int(getattr(chunk.metadata, "page", 0)), int(getattr(chunk.metadata, "page_end", 0))
        headings = chunk.metadata.breadcrumbs.replace(" > ", " ")
        for page in range(first, last + 1):
            texts.setdefault(page, []).extend((headings, chunk.text))
        texts.setdefault(first - 1, []).append(headings)  # the heading of a division may be at the end of a page
    return {page: _normalized("\n".join(parts)) for page, parts in texts.items()}


def _block_texts(document: Document) -> Iterator[tuple[int, str]]:
    for block in document.blocks:
        if isinstance(block, Line):
            yield block.page, block.text
        else:
            yield from ((block.page, cell) for cell in _distinct_cells(block))


def _distinct_cells(table: Table) -> Iterator[str]:
    """Yield the cells of a table. The repetitions of a merged cell are yielded once."""
    for y, row in enumerate(table.rows):
        for x, cell in enumerate(row):
            repeats = (x > 0 and row[x - 1] == cell) or (
                y > 0 and x < len(table.rows[y - 1]) and table.rows[y - 1][x] == cell
            )
            if cell.strip() and not repeats:
                yield cell


def _covered_characters(body: str, text: str) -> int:
    if body in text:
        return len(body)
    marked = bytearray(len(body))
    for i in range(len(body) - GRAM + 1):
        if body[i : i + GRAM] in text:
            marked[i : i + GRAM] = b"\1" * GRAM
    return sum(marked)


def _normalized(text: str) -> str:
    """Return the text without whitespace and brackets, because headings are written with brackets of one kind."""
    return remove_whitespace(clean(text)).translate(_WITHOUT_BRACKETS)


def _length(text: str) -> int:
    return len(_normalized(text))
