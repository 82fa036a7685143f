"""Numbers as Hangul displays them in front of paragraphs, from the header part of an HWPX file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from insurance_rag.ingest.readers.office.numbering import FORMATS

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_LEVELS = 10
#: Name of a number format in HWPX -> name in DOCX.
_FORMATS = {
    "DIGIT": "decimal",
    "CIRCLED_DIGIT": "decimalEnclosedCircle",
    "ROMAN_CAPITAL": "upperRoman",
    "ROMAN_SMALL": "lowerRoman",
    "LATIN_CAPITAL": "upperLetter",
    "LATIN_SMALL": "lowerLetter",
    "HANGUL_SYLLABLE": "ganada",
    "HANGUL_JAMO": "chosung",
    "HANGUL_PHONETIC": "koreanCounting",
    "IDEOGRAPH": "ideographDigital",
}
_CIRCLED = {"CIRCLED_HANGUL_SYLLABLE": 0x326E, "CIRCLED_HANGUL_JAMO": 0x3260, "CIRCLED_LATIN_SMALL": 0x24D0}


@dataclass(frozen=True)
class _Head:
    start: int
    number_format: str
    text: str


@dataclass
class HwpxNumbering:
    """The numbered lists of a document, and how far their numbers are."""

    lists: dict[str, dict[int, _Head]]
    paragraphs: dict[str, tuple[str, str, int]]
    """Properties of paragraphs: `OUTLINE`, `NUMBER`, `BULLET` or `NONE`, the number of the list, and the level."""
    outline: str = "1"
    """Number of the list for outline levels."""
    _counters: dict[str, list[int | None]] = field(default_factory=dict)

    def label(self, properties: str | None) -> tuple[str, int | None]:
        """Count a paragraph. Returns its number with the space after it, and its outline level if it has one."""
        kind, number_id, level = self.paragraphs.get(properties or "", ("NONE", "", 0))
        if kind == "BULLET":
            return "• ", None
        if kind not in ("OUTLINE", "NUMBER"):
            return "", None
        number_id = self.outline if kind == "OUTLINE" or number_id == "0" else number_id
        outline_level = level + 1 if kind == "OUTLINE" else None
        heads = self.lists.get(number_id, {})
        if level not in heads:
            return "", outline_level
        counter = self._counters.setdefault(f"{kind} {number_id}", [None] * MAX_LEVELS)
        current = counter[level]
        counter[level] = heads[level].start if current is None else current + 1
        counter[level + 1 :] = [None] * (MAX_LEVELS - level - 1)
        text = re.sub(r"\^(\d|[nN])", lambda m: self._number(m[1], counter, heads, level), heads[level].text)
        return (f"{text} " if text else ""), outline_level

    @staticmethod
    def _number(mark: str, counter: list[int | None], heads: dict[int, _Head], level: int) -> str:
        at = level if mark in "nN" else int(mark) - 1
        head = heads.get(at, _Head(1, "DIGIT", ""))
        value = counter[at] if 0 <= at < MAX_LEVELS else None
        number = head.start if value is None else value
        if (first := _CIRCLED.get(head.number_format)) is not None:
            return chr(first + number - 1)
        return FORMATS[_FORMATS.get(head.number_format, "decimal")](number)


def read_hwpx_numbering(header: _Element | None) -> HwpxNumbering:
    """Read the lists and the paragraph properties of the header part."""
    numbering = HwpxNumbering({}, {})
    if header is None:
        return numbering
    for element in header.iter("{*}numbering"):
        numbering.lists[element.get("id", "")] = {
            int(head.get("level", "1")) - 1: _Head(
                int(head.get("start", "1")), head.get("numFormat", "DIGIT"), "".join(head.itertext()).strip()
            )
            for head in element.findall("{*}paraHead")
        }
    for element in header.iter("{*}paraPr"):
        heading = next(element.iter("{*}heading"), None)
        if heading is not None:
            kind, number_id = heading.get("type", "NONE"), heading.get("idRef", "0")
            numbering.paragraphs[element.get("id", "")] = (kind, number_id, int(heading.get("level", "0")))
    return numbering
