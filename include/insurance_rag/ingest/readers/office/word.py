"""The text of Word paragraphs and tables: without deleted and hidden text, with numbers and footnotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from insurance_rag.ingest.document import Line, Removed, RemovedReason, Table
from insurance_rag.ingest.readers.office.numbering import Numbering, W, value_of
from insurance_rag.ingest.readers.office.tables import Cell, table_or_lines
from insurance_rag.korean import clean

if TYPE_CHECKING:
    from lxml.etree import _Element

_HEADING = re.compile(r"^(?:heading|제목|개요)\s*([1-9])$", re.IGNORECASE)
_CONTENTS = re.compile(r"^(?:toc|목차)\s*(?:[1-9]|heading|제목)$", re.IGNORECASE)
_ALTERNATIVES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_SKIPPED = frozenset(f"{W}{name}" for name in ("instrText", "delText", "rPr", "pPr", "rt", "fldData"))
#: What is displayed for elements without text.
_CHARACTERS = {f"{W}tab": " ", f"{W}ptab": " ", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "-"}
_OFF = ("0", "false", "off", "none")


@dataclass(frozen=True)
class Style:
    """What a paragraph style says about its paragraphs."""

    name: str = ""
    parent: str | None = None
    outline: int | None = None
    number_id: str | None = None
    level: int | None = None


@dataclass
class WordText:
    """Reads the body of a Word document."""

    styles: dict[str, Style]
    numbering: Numbering
    footnotes: dict[tuple[str, str], list[str]]
    """(`footnote` or `endnote`, number) -> paragraphs."""
    removed: list[Removed] = field(default_factory=list)
    _notes: list[tuple[str, str]] = field(default_factory=list)
    _boxes: list[_Element] = field(default_factory=list)
    _n_notes: int = 0

    def blocks(self, parent: _Element) -> Iterator[Line | Table]:
        """Yield the paragraphs and tables of an element in order."""
        for element in parent:
            if element.tag == f"{W}p":
                yield from self._paragraph(element)
            elif element.tag == f"{W}tbl":
                yield from self._table(element)
                yield from self._note_lines()
            elif element.tag == f"{W}sdt" and element.find(f"{W}sdtContent") is not None:
                if value_of(element.find(f".//{W}docPartGallery")) == "Table of Contents":
                    self._remove(element, "contents")
                else:
                    yield from self.blocks(element.find(f"{W}sdtContent"))
            elif element.tag in (f"{W}ins", f"{W}customXml", f"{W}smartTag", f"{W}moveTo"):
                yield from self.blocks(element)

    def _paragraph(self, element: _Element) -> Iterator[Line | Table]:
        style = self._style(element)
        text = self._text(element)
        if any(_CONTENTS.match(self.styles[name].name) for name in self._chain(style) if name in self.styles):
            if text:
                self.removed.append(Removed(text, 0, "contents"))
            return
        if text:
            text = self._number(element, style) + text
            level = self._heading_level(element, style)
            yield from (Line(part.strip(), level=level) for part in clean(text).split("\n") if part.strip())
        yield from self._box_lines()
        yield from self._note_lines()

    def _remove(self, element: _Element, reason: RemovedReason) -> None:
        """Record the text of paragraphs that are left out."""
        for paragraph in element.iter(f"{W}p"):
            self._record(paragraph, reason, f"{W}t", f"{W}delText")

    def _box_lines(self) -> Iterator[Line | Table]:
        boxes, self._boxes = self._boxes, []
        for box in boxes:
            yield from self.blocks(box)

    def _note_lines(self) -> Iterator[Line]:
        notes, self._notes = self._notes, []
        for key in notes:
            if paragraphs := self.footnotes.get(key):
                self._n_notes += 1
                yield Line(f"주{self._n_notes}) {' '.join(paragraphs)}")

    def _style(self, element: _Element) -> str | None:
        return value_of(element.find(f"{W}pPr/{W}pStyle"))

    def _chain(self, style: str | None) -> Iterator[str]:
        """Yield the names of a style and of the styles that it is based on."""
        seen: set[str] = set()
        while style is not None and style not in seen:
            seen.add(style)
            yield style
            style = self.styles[style].parent if style in self.styles else None

    def _heading_level(self, element: _Element, style: str | None) -> int | None:
        own = value_of(element.find(f"{W}pPr/{W}outlineLvl"))
        if own is not None:
            return int(own) + 1 if int(own) < 9 else None
        for name in self._chain(style):
            found = self.styles.get(name, Style())
            if match := _HEADING.match(found.name):
                return int(match[1])
            if found.outline is not None:
                return found.outline + 1 if found.outline < 9 else None
            if found.name.lower() in ("title", "제목"):
                return 1
        return None

    def _number(self, element: _Element, style: str | None) -> str:
        own = element.find(f"{W}pPr/{W}numPr")
        number_id, level = value_of(_child(own, "numId")), value_of(_child(own, "ilvl"))
        for name in self._chain(style):
            found = self.styles.get(name, Style())
            number_id = number_id if number_id is not None else found.number_id
            level = level if level is not None or found.level is None else str(found.level)
        return self.numbering.label(number_id, int(level or 0)) if number_id not in (None, "0") else ""

    def _text(self, element: _Element) -> str:
        """Return the visible text of a paragraph."""
        return "".join(self._runs(element)).strip()

    def _runs(self, element: _Element) -> Iterator[str]:
        for child in element:
            tag = child.tag
            if tag in (f"{W}del", f"{W}moveFrom"):
                self._record(child, "deleted", f"{W}delText", f"{W}t")
            elif tag == f"{W}r" and self._is_hidden(child):
                self._record(child, "hidden", f"{W}t")
            elif tag in (f"{W}t", _MATH_TEXT):
                yield child.text or ""
            elif tag in _CHARACTERS:
                yield _CHARACTERS[tag]
            elif tag == f"{W}sym":
                yield _symbol(child)
            elif tag == f"{_ALTERNATIVES}AlternateContent":
                chosen = child.find(f"{_ALTERNATIVES}Choice")
                yield from self._runs(chosen if chosen is not None else child)
            elif isinstance(tag, str) and tag not in _SKIPPED and not self._postponed(child):
                yield from self._runs(child)

    def _postponed(self, element: _Element) -> bool:
        """Return whether the text of an element comes after the paragraph, and keep it for then."""
        if element.tag == f"{W}footnoteReference":
            self._notes.append(("footnote", value_of(element, "id") or ""))
        elif element.tag == f"{W}endnoteReference":
            self._notes.append(("endnote", value_of(element, "id") or ""))
        elif element.tag == f"{W}txbxContent":
            self._boxes.append(element)
        else:
            return False
        return True

    def _record(self, element: _Element, reason: RemovedReason, *tags: str) -> None:
        text = "".join(t.text or "" for t in element.iter(*tags)).strip()
        if text:
            self.removed.append(Removed(text, 0, reason))

    def _is_hidden(self, run: _Element) -> bool:
        mark = run.find(f"{W}rPr/{W}vanish")
        return mark is not None and value_of(mark) not in _OFF

    def _table(self, element: _Element) -> list[Line | Table]:
        rows: list[list[Cell]] = []
        open_cells: dict[int, tuple[int, int]] = {}
        for row in element.iter(f"{W}tr"):
            if next((a for a in row.iterancestors(f"{W}tbl")), None) is not element:
                continue  # a row of a table inside a cell
            if row.find(f"{W}trPr/{W}del") is not None:
                self._remove(row, "deleted")
                continue
            rows.append(self._cells(row, rows, open_cells))
        return table_or_lines(rows)

    def _cells(self, row: _Element, rows: list[list[Cell]], open_cells: dict[int, tuple[int, int]]) -> list[Cell]:
        """Return the cells of a row. `open_cells` maps columns to (row, index) of cells that may continue below."""
        cells: list[Cell] = []
        column = int(value_of(row.find(f"{W}trPr/{W}gridBefore")) or 0)
        for element in _cell_elements(row):
            span = int(value_of(element.find(f"{W}tcPr/{W}gridSpan")) or 1)
            merge = element.find(f"{W}tcPr/{W}vMerge")
            if merge is not None and value_of(merge) != "restart" and column in open_cells:
                y, index = open_cells[column]
                above = rows[y][index]
                rows[y][index] = Cell(above.lines, len(rows) - y + 1, above.column_span, above.column)
            else:
                cells.append(Cell(tuple(self._cell_lines(element)), 1, span, column))
                open_cells[column] = (len(rows), len(cells) - 1)
                if merge is None:
                    del open_cells[column]
            column += span
        return cells

    def _cell_lines(self, element: _Element) -> Iterator[str]:
        for block in self.blocks(element):
            if isinstance(block, Line):
                yield block.text
            else:
                yield from (" ".join(dict.fromkeys(cell for cell in row if cell)) for row in block.rows)


def _cell_elements(row: _Element) -> Iterator[_Element]:
    for child in row:
        if child.tag == f"{W}tc":
            yield child
        elif child.tag == f"{W}sdt" and child.find(f"{W}sdtContent") is not None:
            yield from child.find(f"{W}sdtContent").findall(f"{W}tc")


def _child(element: _Element | None, name: str) -> _Element | None:
    return None if element is None else element.find(f"{W}{name}")


def _symbol(element: _Element) -> str:
    """Return a character of a symbol font. Only circled numbers of Wingdings have a meaning as text."""
    code = int(value_of(element, "char") or "0", 16) & 0xFF
    if (value_of(element, "font") or "") == "Wingdings" and 0x81 <= code <= 0x8A:
        return chr(0x2460 + code - 0x81)
    return "•"
