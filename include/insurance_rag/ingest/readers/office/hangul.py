"""The text of Hangul (HWPX) paragraphs and tables: without deleted text, with numbers and footnotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from insurance_rag.ingest.document import Line, Removed, RemovedReason, Table
from insurance_rag.ingest.readers.office.hwpx_numbering import HwpxNumbering
from insurance_rag.ingest.readers.office.tables import Cell, table_or_lines
from insurance_rag.korean import clean

if TYPE_CHECKING:
    from lxml.etree import _Element

_SPACES = {"tab": " ", "nbSpace": " ", "fwSpace": " ", "lineBreak": "\n", "hyphen": "-"}
_OUTLINE_STYLE = re.compile(r"^(?:개요|제목|outline|heading)\s*(\d)$", re.IGNORECASE)


def local_name(element: _Element) -> str:
    """Return the name of an element without its namespace, which differs between versions of HWPX."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


@dataclass
class HangulText:
    """Reads the sections of a Hangul document."""

    numbering: HwpxNumbering
    styles: dict[str, str]
    """Number of a paragraph style -> its name."""
    removed: list[Removed] = field(default_factory=list)
    _notes: list[_Element] = field(default_factory=list)
    _n_notes: int = 0
    _deleting: bool = False

    def blocks(self, parent: _Element) -> Iterator[Line | Table]:
        """Yield the paragraphs and tables of a section or a cell in order."""
        for element in parent:
            if local_name(element) == "p":
                yield from self._paragraph(element)

    def _paragraph(self, element: _Element) -> Iterator[Line | Table]:
        label, level = self.numbering.label(element.get("paraPrIDRef"))
        if level is None and (match := _OUTLINE_STYLE.match(self.styles.get(element.get("styleIDRef", ""), ""))):
            level = int(match[1])
        text = ""
        for part in self._parts(element):
            if isinstance(part, str):
                text += part
                continue
            yield from self._lines(label + text if text.strip() else "", level)
            label, text = ("" if text.strip() else label), ""
            yield from part
        yield from self._lines(label + text if text.strip() else "", level)
        yield from self._note_lines()

    def _lines(self, text: str, level: int | None) -> Iterator[Line]:
        for line in clean(text).split("\n"):
            if line.strip():
                yield Line(" ".join(line.split()), level=level)

    def _note_lines(self) -> Iterator[Line]:
        notes, self._notes = self._notes, []
        for note in notes:
            self._n_notes += 1
            text = " ".join(self._cell_lines(note))
            if text:
                yield Line(f"주{self._n_notes}) {text}")

    def _parts(self, element: _Element) -> Iterator[str | list[Line | Table]]:
        """Yield the text and the tables and text boxes of a paragraph in order."""
        for child in element:
            name = local_name(child)
            if name == "t":
                yield self._text(child)
            elif name == "tbl":
                yield self._table(child)
            elif name in ("footNote", "endNote"):
                self._notes.append(child)
            elif name in ("header", "footer"):
                self._remove(child, "header" if name == "header" else "footer")
            elif name == "drawText":
                yield [block for part in child for block in self.blocks(part)]
            elif name == "equation":
                yield "".join(script.text or "" for script in child.iter("{*}script"))
            elif name in ("hiddenComment", "fieldBegin", "secPr", "pic"):
                continue
            else:
                yield from self._parts(child)

    def _remove(self, element: _Element, reason: RemovedReason) -> None:
        text = " ".join(t for t in ("".join(e.itertext()).strip() for e in element.iter("{*}t")) if t)
        if text:
            self.removed.append(Removed(text, 0, reason))

    def _text(self, element: _Element) -> str:
        """Return the text of a `t` element, whose spaces and revision marks are child elements."""
        pieces = [element.text or ""] if not self._deleting else []
        deleted = [element.text or ""] if self._deleting else []
        for child in element:
            name = local_name(child)
            if name in ("deleteBegin", "deleteEnd"):
                self._deleting = name == "deleteBegin"
            target = deleted if self._deleting else pieces
            target.append(_SPACES.get(name, ""))
            target.append(child.tail or "")
        if gone := "".join(deleted).strip():
            self.removed.append(Removed(gone, 0, "deleted"))
        return "".join(pieces)

    def _table(self, element: _Element) -> list[Line | Table]:
        rows = [
            [self._cell(cell) for cell in row if local_name(cell) == "tc"] for row in element if local_name(row) == "tr"
        ]
        return table_or_lines(rows)

    def _cell(self, element: _Element) -> Cell:
        span, address = element.find("{*}cellSpan"), element.find("{*}cellAddr")
        return Cell(
            tuple(self._cell_lines(element)),
            row_span=int(span.get("rowSpan", "1")) if span is not None else 1,
            column_span=int(span.get("colSpan", "1")) if span is not None else 1,
            column=int(address.get("colAddr", "0")) if address is not None else None,
        )

    def _cell_lines(self, element: _Element) -> Iterator[str]:
        for part in element.iter("{*}subList"):
            if next(part.iterancestors("{*}subList"), element) not in (element, *element.iterancestors("{*}subList")):
                continue  # a text inside a text box or table of this cell
            for block in self.blocks(part):
                if isinstance(block, Line):
                    yield block.text
                else:
                    yield from (" ".join(dict.fromkeys(cell for cell in row if cell)) for row in block.rows)
