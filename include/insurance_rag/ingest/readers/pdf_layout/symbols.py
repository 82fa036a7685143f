"""Repairs circled item numbers that the fonts of a PDF map to other characters, e.g. ‡ or U+F08D instead of ⑦.

A character is repaired only if the numbers before and after it show what it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from insurance_rag.ingest.readers.pdf_layout.glyphs import UNREADABLE
from insurance_rag.ingest.readers.pdf_layout.lines import Block, TextLine
from insurance_rag.ingest.readers.pdf_layout.marks import CIRCLED, heading_style

SAME_LEFT = 3.0
"""Item numbers of one sequence start at the same distance from the left edge, up to this many points."""
# Characters that start lines in their own right: bullets, brackets, quotes, arrows and the like.
_ORDINARY = frozenset("-–—·∙ㆍ・•●○◎◇◆□■△▲▽▼▷▶☞※★☆▣◈*#~&@%+=×÷→←↑↓⇒'\"‘’“”.,:;!?/\\|₩￦$℃℡")


def repair_numbers(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks with repaired item numbers at the starts of lines."""
    lines = [b for b in blocks if isinstance(b, TextLine)]
    repaired: dict[TextLine, TextLine] = {}
    last: tuple[int, float] | None = None
    for i, line in enumerate(lines):
        if heading_style(line.text) == "article":
            last = (0, line.box.x0 + 5)
        elif line.text[0] in CIRCLED:
            last = (CIRCLED.index(line.text[0]) + 1, line.box.x0)
        elif last is not None and _is_odd(line.text) and _is_next(line, last, lines[i + 1 :]):
            number = last[0] + 1
            repaired[line] = replace(line, text=CIRCLED[number - 1] + line.text[1:])
            last = (number, line.box.x0)
    return [repaired.get(b, b) if isinstance(b, TextLine) else b for b in blocks]


def _is_odd(text: str) -> bool:
    """Return whether a text starts with a symbol that has no use at the start of a line."""
    first = text[0]
    if first in _ORDINARY or len(text) < 2 or text[1].isdigit():
        return False
    return first == UNREADABLE or unicodedata.category(first) in ("So", "Sm", "Sk", "Po", "Co", "Cn")


def _is_next(line: TextLine, last: tuple[int, float], following: Sequence[TextLine]) -> bool:
    """Return whether a line is at the place of the number after `last`, and no other line has this number."""
    value, left = last
    if value >= len(CIRCLED) or (value and abs(line.box.x0 - left) > SAME_LEFT):
        return False
    symbol, after = line.text[0], None
    for other in following:
        if heading_style(other.text) == "article":
            break
        if other.text[0] in CIRCLED and abs(other.box.x0 - line.box.x0) <= SAME_LEFT:
            after = CIRCLED.index(other.text[0]) + 1
            break
        if other.text[0] == symbol != UNREADABLE and abs(other.box.x0 - line.box.x0) <= SAME_LEFT:
            return False  # a bullet
    if value == 0:
        return after == 2
    return after is None or after > value + 1
