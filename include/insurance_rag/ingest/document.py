"""The content of a document as the readers of all formats return it: lines and tables in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RemovedReason = Literal["header", "footer", "page_number", "contents", "hidden"]
"""Why a reader left out text: repeated at the top or bottom of pages, a page number, part of a table of contents, or
not visible to a reader of the document."""


@dataclass(frozen=True)
class Line:
    """One line of a PDF, or one paragraph of a format without lines."""

    text: str
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
    """Whether the next line continues a word or sentence of this one, because a line of a PDF ended there."""


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
    kind: Literal["pdf", "docx", "hwpx", "html", "markdown", "text"]
    blocks: tuple[Line | Table, ...]
    n_pages: int = 0
    """Number of pages; 0 if the format has no pages."""
    removed: tuple[Removed, ...] = ()
    warnings: tuple[str, ...] = ()
    """Problems that do not prevent reading, each with page numbers and what to do, e.g. pages without a text layer."""
