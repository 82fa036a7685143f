"""Join the lines of a document into paragraphs, and make headings and numbered paragraphs start paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from insurance_rag.ingest.document import Document, Line, Table
from insurance_rag.ingest.tables import table_lines
from insurance_rag.korean import clean

MAX_HEADING_LINES = 3
"""Maximum number of lines that the title of an article may have."""
MAX_SPACED_TEXT = 40
"""In longer texts, single syllables next to each other are words (`그 때 이 법`)."""
BRACKETS = {
    "(": ")",
    "（": "）",
    "[": "]",
    "［": "］",
    "【": "】",
    "<": ">",
    "〈": "〉",
    "《": "》",
    "〔": "〕",
    "「": "」",
}

_SPACES = re.compile(r"[ \t\u00a0\u3000]+")
_ARTICLE_START = re.compile(r"^\W{0,3}제\s*\d{1,4}\s*조(?:\s*의\s*\d{1,2})?\s*[(（\[［【<〈《〔「]")
# A sentence ends, and a paragraph (①) or the heading of an article follows on the same line.
_INNER_START = re.compile(
    r"(?<=[다함음임오요것]\.)\s+(?=[①-⑳]\s*\S)"
    r"|(?<=[다함음임오요것]\.)\s+(?=제\s*\d{1,4}\s*조(?:\s*의\s*\d{1,2})?\s*[(（\[［【<〈]"
    r"[^()（）\n]{1,50}[)）\]］】>〉]\s*(?:$|①|1\.\s|이\s(?:계약|보험|약관|특별약관|특약)))"
)
# Syllables that are set apart to fill the width: `구 분`, `보 험 기 간`.
_SPACED = re.compile(r"(?<!\d )(?<![가-힣A-Za-z0-9])[가-힣](?: [가-힣]){1,7}(?![가-힣A-Za-z0-9])")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph, a heading, or a table as text."""

    text: str
    page: int
    page_end: int
    size: float = 0.0
    """Font size of the first line; 0 if unknown."""
    level: int | None = None
    is_table: bool = False
    """Whether the text is a table with one row per line."""
    starts_page: bool = False
    """Whether nothing but removed text is above the paragraph on its page."""


def read_paragraphs(document: Document) -> list[Paragraph]:
    """Return the paragraphs of the document in reading order. Empty lines are left out."""
    found: list[Paragraph] = []
    last_page = 0
    for paragraph in _join_titles([*_joined(document.blocks)]):
        for piece in _split_inside(paragraph):
            found.append(replace(piece, starts_page=piece.page > last_page))
            last_page = piece.page_end
    return found


def normalize_spaces(text: str) -> str:
    """Return the text in NFC with single spaces. In a short text, a word that was set apart is joined again.

    >>> normalize_spaces("제 1 관  보 험 기 간")
    '제 1 관 보험기간'
    """
    text = clean(text).strip()
    if len(text) <= MAX_SPACED_TEXT and "." not in text:
        text = _SPACED.sub(lambda run: run[0].replace(" ", "") if len(run[0]) > 6 or run[0] == text else run[0], text)
    return _SPACES.sub(" ", text)


def _joined(blocks: Sequence[Line | Table]) -> Iterator[Paragraph]:
    """Yield one paragraph per table and per run of lines that continue each other."""
    run: list[Line] = []
    for block in blocks:
        if isinstance(block, Table):
            if run:
                yield _paragraph(run)
                run = []
            if lines := table_lines(block):
                yield Paragraph("\n".join(lines), block.page, block.page, is_table=True)
            continue
        run.append(block)
        if not block.joins_next:
            yield _paragraph(run)
            run = []
    if run:
        yield _paragraph(run)


def _paragraph(lines: Sequence[Line]) -> Paragraph:
    text = normalize_spaces("".join(line.text for line in lines))
    first, level = lines[0], next((line.level for line in lines if line.level is not None), None)
    return Paragraph(text, first.page, lines[-1].page, first.size, level)


def _join_titles(paragraphs: Sequence[Paragraph]) -> Iterator[Paragraph]:
    """Yield the paragraphs. A title of an article that is broken over several of them is joined."""
    at = 0
    while at < len(paragraphs):
        paragraph = paragraphs[at]
        at += 1
        if _ARTICLE_START.match(paragraph.text) and not paragraph.is_table:
            for n in range(1, MAX_HEADING_LINES):
                following = paragraphs[at : at + n]
                if _title_end(paragraph.text) is not None or len(following) < n or any(p.is_table for p in following):
                    break
                joined = " ".join(p.text for p in (paragraph, *following))
                if _title_end(joined) is not None:
                    paragraph = replace(paragraph, text=joined, page_end=following[-1].page_end)
                    at += n
        if paragraph.text:
            yield paragraph


def _title_end(text: str) -> int | None:
    start = _ARTICLE_START.match(text)
    return closing_bracket(text, start.end() - 1) if start else None


def closing_bracket(text: str, opening: int, limit: int = 120) -> int | None:
    """Return the position of the bracket that closes the one at `opening`; None if there is none within `limit`.

    >>> closing_bracket("제28조(부활(효력회복)) ①", 4)
    13
    """
    kind, depth = text[opening], 0
    for at in range(opening, min(len(text), opening + limit)):
        depth += (text[at] == kind) - (text[at] == BRACKETS[kind])
        if depth == 0:
            return at
    return None


def _split_inside(paragraph: Paragraph) -> Iterator[Paragraph]:
    """Yield the parts of a paragraph: at line breaks, and where a numbered paragraph or an article begins."""
    if paragraph.is_table:
        yield paragraph
        return
    pieces = [piece for line in paragraph.text.split("\n") for piece in _INNER_START.split(line) if piece.strip()]
    for i, text in enumerate(pieces):
        yield replace(paragraph, text=text.strip(), level=paragraph.level if i == 0 else None)
