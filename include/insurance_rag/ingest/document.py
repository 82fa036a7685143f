"""The content of a document as the readers of all formats return it: lines and tables in reading order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

RemovedReason = Literal["header", "footer", "page_number", "contents", "hidden", "watermark", "deleted", "unreadable"]
"""Why a reader left out text: repeated at the top, side (`header`) or bottom of pages, a page number, part of a table
of contents, not visible to a person who reads the document, written diagonally across pages, a deletion that the
document tracks, or characters that the fonts of a PDF do not map to text."""


@dataclass(frozen=True)
class Line:
    """One line of a PDF, or one paragraph of a format without lines."""

    text: str
    """Text without surrounding spaces. Only if `joins_next`, it ends with a space where two words meet, so that the
    text of the next line can be appended as it is (see `join_lines`)."""
    page: int = 0
    """Number of the page, starting at 1; 0 if the format has no pages."""
    left: float = 0.0
    """Distance from the left edge of the page (PDF), in points."""
    top: float = 0.0
    """Distance from the top edge of the page (PDF), in points."""
    size: float = 0.0
    """Font size in points; 0 if unknown."""
    level: int | None = None
    """Level of the heading, starting at 1, if the format marks headings (HTML, Markdown, DOCX, HWPX)."""
    joins_next: bool = False
    """Whether the next block, which is a line too, continues the paragraph of this line. Such a next line never starts
    an article or an item, even if it begins like one (`제33조(보험료의 환급)에 따른`)."""


@dataclass(frozen=True)
class Table:
    """A table, row by row. Cells that span several rows or columns are repeated."""

    rows: tuple[tuple[str, ...], ...]
    page: int = 0
    left: float = 0.0
    top: float = 0.0


@dataclass(frozen=True)
class Removed:
    """Text that a reader left out, e.g. a page number."""

    text: str
    page: int
    reason: RemovedReason


@dataclass(frozen=True)
class Document:
    """A document that was read."""

    source: str
    """File name."""
    sha256: str
    """Hash of the file."""
    kind: str
    """Name of the format: pdf, docx, hwpx, html, markdown, text, or the name of an added format."""
    blocks: tuple[Line | Table, ...]
    n_pages: int = 0
    """Number of pages; 0 if the format has no pages."""
    removed: tuple[Removed, ...] = ()
    warnings: tuple[str, ...] = ()
    """Problems that do not prevent reading, each with page numbers and what to do, e.g. pages without a text layer."""


def join_lines(lines: Iterable[Line]) -> str:
    """Return the text of consecutive lines, with one line per paragraph.

    >>> join_lines([Line("보험회사(이", joins_next=True), Line("하 ‘회사’라 합니다)"), Line("1. 계약자")])
    '보험회사(이하 ‘회사’라 합니다)\\n1. 계약자'
    """
    return "".join(line.text if line.joins_next else f"{line.text}\n" for line in lines).removesuffix("\n")
