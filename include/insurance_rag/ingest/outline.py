"""The structure of a document: its sections in order, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from insurance_rag.ingest.headings import ArticleNumber
from insurance_rag.ingest.paragraphs import Paragraph

DividedBy = Literal["articles", "headings", "pages", "paragraphs"]


@dataclass(frozen=True)
class Section:
    """An article, an appendix, or text under another heading."""

    kind: Literal["article", "appendix", "text"]
    part: str
    """Part of the policy, e.g. `보통약관`; for text outside the policy the heading above it."""
    divisions: tuple[str, ...]
    """Headings between the part and this section, e.g. `제1관 목적`."""
    label: str
    """Number for the chunk id, e.g. `제4조의2` or `부표1`; empty if the section has none."""
    heading: str
    """Heading with which the chunks of this section begin; empty if there is none apart from `part`."""
    title: str
    """Title without number."""
    paragraphs: tuple[Paragraph, ...]
    page: int
    page_end: int
    number: ArticleNumber | None = None
    """Number of an article."""


@dataclass(frozen=True)
class LeftOutParagraph:
    """A paragraph that is in no section."""

    paragraph: Paragraph
    reason: Literal["contents", "cover", "group heading", "heading without text", "repeated heading"]


@dataclass(frozen=True)
class Outline:
    """What `read_outline` found in a document."""

    title: str
    """Name of the product as the document states it; empty if it does not."""
    sections: tuple[Section, ...]
    left_out: tuple[LeftOutParagraph, ...]
    divided_by: DividedBy
    warnings: tuple[str, ...]
