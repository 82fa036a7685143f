"""Collect the sections of a document: go through its paragraphs with the headings and parts that were found before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from insurance_rag.ingest.headings import (
    ArticleHeading,
    DivisionHeading,
    appendix_heading,
    division_heading,
    is_laws_heading,
    is_short_line,
    is_title_line,
    part_heading,
    without_separator,
)
from insurance_rag.ingest.outline import LeftOutParagraph, Section
from insurance_rag.ingest.paragraphs import Paragraph
from insurance_rag.ingest.parts import PartStart

APPENDICES = "별표"
"""Part that contains the appendices of all parts."""
INTRODUCTION = "안내"
"""Part for text before the first heading."""
MAIN_PART = "보통약관"
"""Part of the articles if the document names none."""
_VERSION = re.compile(r"^[\s\-–·]*(?:[(\[]?\d[\d.]*[)\]]?)?[\s\-–·]*")
VERY_LARGE = 1.3
"""Font size of the headings of parts relative to that of the text."""


@dataclass
class SectionWalk:
    """Collects the sections of a document while going through its paragraphs."""

    paragraphs: Sequence[Paragraph]
    headings: Mapping[int, ArticleHeading]
    parts: Mapping[int, PartStart]
    title: str
    size: float
    left_out: list[LeftOutParagraph] = field(default_factory=list)
    _part: str = ""
    _names: dict[str, int] = field(default_factory=dict)
    _part_level: int | None = None
    _name_end: int = -1
    _divisions: dict[int, str] = field(default_factory=dict)
    _open: Section | None = None
    _body: list[Paragraph] = field(default_factory=list)
    _heading: Paragraph | None = None
    """Heading of the open section if it is text under a heading of its own."""
    _pending: list[Paragraph] = field(default_factory=list)
    """Headings without text, which are added to the text below them."""
    _named: list[tuple[Paragraph, str]] = field(default_factory=list)
    """Names of parts and divisions."""

    @cached_property
    def _has_own_appendices(self) -> bool:
        """Whether each part has its appendices at its end, rather than all at the end of the document."""
        last = max(self.headings)
        return any(appendix_heading(paragraph) for paragraph in self.paragraphs[min(self.headings) : last])

    def sections(self, skipped: set[int]) -> list[Section]:
        """Return all sections with their text."""
        groups = {i for part in self.parts.values() for i in part.groups}
        found: list[Section] = []
        self._start_text(INTRODUCTION)
        for i, paragraph in enumerate(self.paragraphs):
            if i in skipped:
                continue
            if i in groups:
                found += self._close()
                self.left_out.append(LeftOutParagraph(paragraph, "group heading"))
            elif not self._repeats_title(i, paragraph):
                found += self._step(i, paragraph)
        found += self._close()
        self._leave_out(self._pending)
        used = {name for section in found for name in (section.part, *section.divisions)}
        self._leave_out([paragraph for paragraph, name in self._named if name not in used])
        return found

    def _leave_out(self, headings: Sequence[Paragraph]) -> None:
        self.left_out += [LeftOutParagraph(paragraph, "heading without text") for paragraph in headings]

    def _repeats_title(self, i: int, paragraph: Paragraph) -> bool:
        """Leave out the name of the current part if it is repeated as a running title."""
        name = part_heading(paragraph)
        in_name = i in self.parts or i <= self._name_end
        if name is None or name.numbered or in_name or self._short(name.title) != self._part:
            return False
        self.left_out.append(LeftOutParagraph(paragraph, "repeated heading"))
        return True

    def _step(self, i: int, paragraph: Paragraph) -> Iterator[Section]:
        """Add the paragraph, and yield the section that it ends."""
        if i in self.parts:
            yield from self._close()
            self._start_part(self.parts[i], paragraph)
            if i not in self.headings and not division_heading(paragraph):
                return
        if i <= self._name_end:
            return
        if heading := self.headings.get(i):
            yield from self._close()
            self._start_article(heading, paragraph)
        elif division := self._division(paragraph):
            yield from self._close()
            self._add_division(division)
            self._named.append((paragraph, division.text))
            self._start_text(self._part or MAIN_PART)
        elif appendix := appendix_heading(paragraph):
            yield from self._close()
            part = self._part if self._has_own_appendices else APPENDICES
            self._open = Section(
                "appendix", part or APPENDICES, (), appendix.label, appendix.text, appendix.title, (), paragraph.page,
                paragraph.page,
            )  # fmt: skip
        elif self._is_title_of_appendix(paragraph):
            assert self._open
            title = without_separator(paragraph.text)
            self._open = replace(self._open, title=title, heading=f"{self._open.heading} {title}")
        elif self._starts_text(paragraph):
            yield from self._close()
            self._start_text(without_separator(paragraph.text), paragraph)
        else:
            self._body.append(paragraph)

    def _is_title_of_appendix(self, paragraph: Paragraph) -> bool:
        """Return whether the title of an appendix is on the line below its number."""
        untitled = self._open is not None and self._open.kind == "appendix" and not self._open.title and not self._body
        return untitled and not paragraph.is_table and is_short_line(paragraph)

    def _division(self, paragraph: Paragraph) -> DivisionHeading | None:
        """Return the heading of a division, unless the paragraph is in an appendix."""
        in_appendix = self._open is not None and self._open.kind == "appendix"
        return None if in_appendix else division_heading(paragraph)

    def _start_part(self, part: PartStart, paragraph: Paragraph) -> None:
        name = self._short(part.title) or MAIN_PART
        self._names[name] = self._names.get(name, 0) + 1
        self._part = name if self._names[name] == 1 else f"{name} ({self._names[name]})"
        self._part_level, self._name_end = paragraph.level, part.name_end
        self._divisions = {}
        self._named.append((paragraph, self._part))
        self._start_text(self._part)

    def _short(self, title: str) -> str:
        """Return the name of a part without the product's name in front."""
        if self.title and title.startswith(self.title) and (rest := _VERSION.sub("", title[len(self.title) :])):
            return rest
        return title

    def _start_article(self, heading: ArticleHeading, paragraph: Paragraph) -> None:
        self._part = self._part or MAIN_PART
        divisions = tuple(self._divisions[level] for level in sorted(self._divisions))
        self._open = Section(
            "article", self._part, divisions, heading.label, heading.text, heading.title, (), paragraph.page,
            paragraph.page, heading.number,
        )  # fmt: skip
        self._body = [replace(paragraph, text=heading.body)] if heading.body else []

    def _add_division(self, division: DivisionHeading) -> None:
        self._divisions = {k: text for k, text in self._divisions.items() if k < division.level}
        self._divisions[division.level] = division.text

    def _starts_text(self, paragraph: Paragraph) -> bool:
        """Return whether a heading outside the articles begins here.

        Within an article, only a heading that is larger or has a level at least as high as that of the part counts.
        """
        if is_laws_heading(paragraph):
            return True
        if not is_title_line(paragraph, self.size):
            return False
        if self._open is None or self._open.kind != "article":
            return self._open is None or self._open.kind == "text" or _is_top(paragraph, self.size, self._part_level)
        return _is_top(paragraph, self.size, self._part_level)

    def _start_text(self, part: str, heading: Paragraph | None = None) -> None:
        divisions = tuple(self._divisions[level] for level in sorted(self._divisions)) if part == self._part else ()
        self._open, self._heading = Section("text", part, divisions, "", "", "", (), 0, 0), heading

    def _close(self) -> Iterator[Section]:
        """Yield the open section, unless it is text without content."""
        section, body = self._open, tuple(self._body)
        self._open, self._body = None, []
        if section is None:
            return
        if section.kind == "text":
            if not body:
                self._pending += [self._heading] if self._heading else []
                return
            body = (*self._pending, *body)
        else:
            self._leave_out(self._pending)
        self._pending = []
        first = section.page or (body[0].page if body else 0)
        yield replace(section, paragraphs=body, page=first, page_end=max([first, *(p.page_end for p in body)]))


def _is_top(paragraph: Paragraph, size: float, part_level: int | None) -> bool:
    """Return whether a heading is of the same rank as the name of a part."""
    if paragraph.level is not None and part_level is not None:
        return paragraph.level <= part_level
    return paragraph.starts_page and paragraph.size >= VERY_LARGE * size > 0
