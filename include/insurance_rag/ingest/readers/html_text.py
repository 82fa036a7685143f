"""The visible text of HTML: headings, paragraphs, list items with their numbers, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from insurance_rag.ingest.document import Line, Removed, RemovedReason, Table
from insurance_rag.ingest.readers.office.numbering import FORMATS
from insurance_rag.ingest.readers.office.tables import Cell, table_or_lines
from insurance_rag.korean import clean

if TYPE_CHECKING:
    from lxml.etree import _Element

_SKIPPED = frozenset(
    ["script", "style", "noscript", "template", "head", "iframe", "object", "svg", "canvas", "audio", "video", "button",
     "select", "input", "textarea", "rt", "rp", "colgroup", "map", "dialog"]
)  # fmt: skip
_INLINE = frozenset(
    ["a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "dfn", "em", "font", "i", "ins", "kbd", "label",
     "mark", "math", "q", "ruby", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
     "img"]
)  # fmt: skip
_REMOVED: dict[str, RemovedReason] = {
    "nav": "contents", "footer": "footer", "del": "deleted", "s": "deleted", "strike": "deleted"
}  # fmt: skip
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])", re.IGNORECASE)
_LIST_TYPES = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
MIN_LINKS = 5
"""A list with so many items that are links into the document is a table of contents."""


@dataclass
class HtmlText:
    """Reads the elements of a page."""

    removed: list[Removed] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    """Text of the current paragraph."""
    _label: str = ""
    """Number of the current list item, until its first text."""

    def blocks(self, element: _Element) -> Iterator[Line | Table]:
        """Yield the lines and tables of an element."""
        yield from self._children(element, None)
        yield from self._flush(None)

    def _flush(self, level: int | None) -> Iterator[Line]:
        """Yield the text of the current paragraph as lines."""
        text, self._text = clean("".join(self._text)), []
        for line in text.split("\n"):
            if words := line.split():
                yield Line(self._label + " ".join(words), level=level)
                self._label = ""

    def _children(self, element: _Element, level: int | None) -> Iterator[Line | Table]:
        preformatted = element.tag == "pre"
        self._add(element.text, preformatted)
        for child in element:
            yield from self._element(child, level)
            self._add(child.tail, preformatted)

    def _add(self, text: str | None, preformatted: bool) -> None:
        if text:
            self._text.append(text if preformatted else re.sub(r"\s+", " ", text))

    def _element(self, element: _Element, level: int | None) -> Iterator[Line | Table]:
        tag = element.tag
        if not isinstance(tag, str) or tag in _SKIPPED:
            return
        if reason := _removed_as(element):
            self._remove(element, reason)
        elif tag == "br":
            self._text.append("\n")
        elif tag in _INLINE:
            yield from self._children(element, level)
        elif tag == "table":
            yield from self._flush(level)
            yield from self._table(element)
        elif tag in ("ol", "ul", "menu"):
            yield from self._flush(level)
            yield from self._list(element)
        else:
            yield from self._flush(level)
            own = int(tag[1]) if re.fullmatch("h[1-6]", tag) else level
            yield from self._children(element, own)
            yield from self._flush(own)

    def _remove(self, element: _Element, reason: RemovedReason) -> None:
        text = " ".join(" ".join(element.itertext()).split())
        if text:
            self.removed.append(Removed(text, 0, reason))

    def _list(self, element: _Element) -> Iterator[Line | Table]:
        ordered = element.tag == "ol"
        items = [child for child in element if child.tag == "li"]
        if len(items) >= MIN_LINKS and all(map(_is_link, items)):
            self._remove(element, "contents")
            return
        number = int(_digits(element.get("start")) or 1)
        write = FORMATS[_LIST_TYPES.get(element.get("type") or "1", "decimal")]
        for child in element:
            if child.tag == "li":
                number = int(_digits(child.get("value")) or number)
                self._label = f"{write(number)}. " if ordered else "- "
                number += 1
            yield from self._element(child, None)
            self._label = ""

    def _table(self, element: _Element) -> list[Line | Table]:
        rows = [
            [self._cell(cell, len(element)) for cell in row if cell.tag in ("td", "th") and not _removed_as(cell)]
            for row in element.iter("tr")
            if next(row.iterancestors("table")) is element and not _removed_as(row)
        ]
        captions = [Line(text) for caption in element.findall("caption") for text in self._cell_lines(caption)]
        return [*captions, *table_or_lines(rows)]

    def _cell(self, element: _Element, n_rows: int) -> Cell:
        rows = int(_digits(element.get("rowspan")) or 1)
        columns = int(_digits(element.get("colspan")) or 1)
        return Cell(tuple(self._cell_lines(element)), rows if rows else 500, max(columns, 1))

    def _cell_lines(self, element: _Element) -> Iterator[str]:
        inner = HtmlText(self.removed)
        for block in inner.blocks(element):
            if isinstance(block, Line):
                yield block.text
            else:
                yield from (" ".join(dict.fromkeys(cell for cell in row if cell)) for row in block.rows)


def _removed_as(element: _Element) -> RemovedReason | None:
    """Return why an element is left out, or None if it is visible text."""
    if element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return "hidden"
    if _HIDDEN_STYLE.search(element.get("style") or ""):
        return "hidden"
    if element.get("role") == "navigation":
        return "contents"
    if element.tag == "header" and not any(True for _ in element.iter("h1", "h2", "h3")):
        return "header"
    return _REMOVED.get(str(element.tag))


def _is_link(item: _Element) -> bool:
    """Return whether a list item is nothing but a link into the same document."""
    links = [a for a in item.iter("a") if (a.get("href") or "").startswith("#")]
    linked = "".join("".join(a.itertext()) for a in links)
    return bool(links) and "".join(linked.split()) == "".join("".join(item.itertext()).split())


def _digits(value: str | None) -> str | None:
    return value if value and re.fullmatch(r"\d{1,4}", value) else None
