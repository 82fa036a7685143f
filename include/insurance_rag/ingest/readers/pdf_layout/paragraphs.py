"""Joins the lines of paragraphs: decides for each line whether the next one continues it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from insurance_rag.ingest.readers.pdf_layout.lines import Block, Region, TableBlock, TextLine
from insurance_rag.ingest.readers.pdf_layout.marks import (
    AMBIGUOUS,
    Mark,
    find_mark,
    heading_style,
    is_reference,
    open_brackets,
)

SLACK, EXACT_SLACK = 1.3, 0.4
"""A line is full if it ends less than this, in font sizes, before the right edge. The second number is for columns
whose full lines all end exactly at the edge."""
SPACE = 0.5
"""Width of a space after the last word of a line, in font sizes."""
EXACT = 0.85
"""Share of the full lines of such a column that end at the edge."""
CELL_SLACK = (1.0, 3.0)
"""The same for a line in a cell, in font sizes, plus the distance between text and ruling line in points."""
JUSTIFIED = 0.35
"""Text is justified if this share of its lines ends at the right edge."""
SAME_EDGE = 1.0
"""Lines end together if their ends differ by at most this, in points."""
MIN_TOGETHER = 3
SHARE_TOGETHER = 0.2
WIDER = 1.06
"""A distance between two lines that is larger than usual by this factor separates paragraphs."""
SAME_SIZE = 0.15
SIDE_NOTE = 0.6
"""A column that is narrower than this share of the column next to it has notes."""
MAX_FLOATING = 80
"""Maximum number of lines of frames and tables inside a paragraph."""

_FINISHED = re.compile(r"[.。!?:;][\"'”’)\]」』】>*]*$")
# A line break inside a verb: the next line begins with `다.`, which looks like the item after `나.`.
_VERB_STEM = re.compile(r"[니한된있없였했이는않같린온든킨른받둔긴운친난간본진준]$")
_CONJUNCTION = re.compile(r"(?:[,、·]|및|또는|내지|혹은|과|와|의)$")
_CIRCLED_REFERENCE = re.compile(r"[①-⑳㉠-㉭]\s?(?:[,~·및]|또는|(?:의|에|과|와|을|를|은|는)(?![가-힣]))")


@dataclass
class Joins:
    """Which lines of a document continue each other."""

    blocks: list[Block]
    """Lines and tables in reading order. Frames and tables inside a paragraph come after the paragraph."""
    joined: set[TextLine]
    """Lines that the next block continues."""


@dataclass
class _Margins:
    """Right edges of the text."""

    right: dict[Region, float]
    """Where the lines of each region end."""
    exact: frozenset[Region] = frozenset()
    """Regions whose full lines all end at the edge."""
    justified: bool = True

    def slack(self, line: TextLine) -> float:
        """Return the space to the right of a line, in points. It is negative for a line that sticks out."""
        return self.right.get(line.region, line.region.right) - line.box.x1

    def is_full(self, line: TextLine, following: TextLine) -> bool:
        """Return whether the beginning of the following line did not fit into this line."""
        if line.region.kind == "cell":
            return self.slack(line) < CELL_SLACK[0] * line.size + CELL_SLACK[1]
        if self.justified:
            tolerance = EXACT_SLACK if line.region in self.exact else SLACK
            return self.slack(line) < (tolerance + SPACE * line.space_after) * line.size
        first = following.text.split()[0]
        width = sum(0.55 if c.isascii() else 1.0 for c in first) * line.size
        return (
            self.slack(line)
            < min(max(width, line.size), 0.3 * (line.region.right - line.region.left)) + 0.5 * line.size
        )


@dataclass
class _Sequence:
    """The last number of each style of item numbers, and where it is."""

    last: dict[str, tuple[int, float]] = field(default_factory=dict)

    def expects(self, mark: Mark, left: float) -> bool:
        value, at = self.last.get(mark.style, (0, left))
        return mark.value == 1 or (mark.value == value + 1 and abs(left - at) < 4)

    def add(self, line: TextLine) -> None:
        mark = find_mark(line.text)
        if mark and mark.value:
            self.last[mark.style] = (mark.value, line.box.x0)
        elif heading_style(line.text) == "article":
            self.last.clear()


def find_joins(blocks: Sequence[Block]) -> Joins:
    """Find the lines that continue each other. Moves frames and tables out of the paragraphs that they interrupt."""
    margins, pitch = _margins(blocks), _pitch(blocks)
    sequence = _Sequence()
    ordered = list(blocks)
    joined: set[TextLine] = set()
    at = 0
    while at < len(ordered):
        line = ordered[at]
        if isinstance(line, TextLine):
            if not (at and ordered[at - 1] in joined):
                sequence.add(line)
            _pull_continuation(ordered, at, margins, sequence)
            following = ordered[at + 1] if at + 1 < len(ordered) else None
            if isinstance(following, TextLine) and _continues(line, following, margins, sequence, pitch):
                joined.add(line)
        at += 1
    return Joins(ordered, joined)


def cell_joins(lines: Sequence[TextLine]) -> list[bool]:
    """Return for each line of a cell but the last whether the next one continues its last word or sentence."""
    margins = _Margins({})
    return [margins.is_full(a, b) and find_mark(b.text) is None for a, b in pairwise(lines)]


def _lines(blocks: Sequence[Block]) -> list[TextLine]:
    return [b for b in blocks if isinstance(b, TextLine)]


def _margins(blocks: Sequence[Block]) -> _Margins:
    by_region: dict[Region, list[TextLine]] = {}
    for line in _lines(blocks):
        by_region.setdefault(line.region, []).append(line)
    usual = {region: _common_edge(lines) for region, lines in by_region.items()}
    widths = [right - r.left for r, right in usual.items() if r.kind == "page" and right is not None]
    width = median(widths) if widths else 0.0
    margins = _Margins(
        {
            region: right if right is not None else max(region.right, region.left + width * (region.kind == "page"))
            for region, right in usual.items()
        }
    )
    flowing = [line for line in _lines(blocks) if line.region.kind in ("page", "column")]
    slacks = [margins.slack(line) / line.size for line in flowing]
    margins.justified = not flowing or sum(s < 0.5 for s in slacks) >= JUSTIFIED * len(flowing)
    margins.exact = frozenset(region for region, lines in by_region.items() if _is_exact(lines, margins))
    return margins


def _is_exact(lines: Sequence[TextLine], margins: _Margins) -> bool:
    slacks = [margins.slack(line) / line.size for line in lines]
    full = sum(s < SLACK for s in slacks)
    return full >= MIN_TOGETHER and sum(s < EXACT_SLACK / 2 for s in slacks) >= EXACT * full


def _common_edge(lines: Sequence[TextLine]) -> float | None:
    """Return the right edge at which most full lines of a region end, or None if no three lines end together."""
    ends = sorted(line.box.x1 for line in lines)
    best, count = ends[-1], 0
    for i, end in enumerate(ends):
        together = sum(1 for other in ends[i:] if other - end <= SAME_EDGE)
        if together >= count:
            best, count = ends[i + together - 1], together
    common = count >= MIN_TOGETHER and count >= SHARE_TOGETHER * len(ends)
    return best if common and ends[-1] - best <= SLACK * max(line.size for line in lines) else None


def _pitch(blocks: Sequence[Block]) -> float:
    """Return the distance between the baselines of two lines of a paragraph, in font sizes.

    The distance between paragraphs is often larger, so this is the lower quartile of all distances.
    """
    distances = sorted(
        (b.baseline - a.baseline) / a.size
        for a, b in pairwise(_lines(blocks))
        if a.region is b.region and 0 < b.baseline - a.baseline < 4 * a.size
    )
    return distances[len(distances) // 4] if distances else 1.6


def _follows(a: TextLine, b: TextLine, pitch: float) -> bool:
    """Return whether the position of a line allows it to continue another one."""
    if abs(a.size - b.size) > SAME_SIZE * a.size:
        return False
    if a.region is b.region:
        return 0 < b.baseline - a.baseline <= 1.5 * pitch * a.size
    if a.region.kind == b.region.kind == "frame":
        return b.page == a.page + 1 and not _finished(a)
    flowing = {a.region.kind, b.region.kind} <= {"page", "column"}
    return flowing and b.page in (a.page, a.page + 1) and not _finished(a)


def _finished(line: TextLine) -> bool:
    return _FINISHED.search(line.text) is not None


def _continues(a: TextLine, b: TextLine, margins: _Margins, sequence: _Sequence, pitch: float) -> bool:
    if not _follows(a, b, pitch):
        return False
    if heading_style(a.text) and open_brackets(a.text) > open_brackets(a.text + b.text) and find_mark(b.text) is None:
        return True  # a title in brackets that is broken over two lines
    if not margins.is_full(a, b) or (_is_lower(a, b, pitch) and (_finished(a) or a.region not in margins.exact)):
        return False
    return not _starts_paragraph(a, b, sequence)


def _is_lower(a: TextLine, b: TextLine, pitch: float) -> bool:
    """Return whether more space than usual is between two lines, as between paragraphs."""
    return a.region is b.region and b.baseline - a.baseline > WIDER * pitch * a.size


def _starts_paragraph(a: TextLine, b: TextLine, sequence: _Sequence) -> bool:
    """Return whether a line after a full line starts a paragraph of its own."""
    finished = _finished(a)
    style = heading_style(b.text)
    if style and finished:
        return True
    if style == "caption":
        return b.text[0] == "【" and open_brackets(a.text) == 0
    if style:
        return not is_reference(b.text) and _CONJUNCTION.search(a.text) is None
    mark = find_mark(b.text)
    if mark is None:
        # The first line of a new paragraph is indented. Lines after an item number are indented too.
        return finished and b.box.x0 > a.box.x0 + 0.5 * a.size and find_mark(a.text) is None
    if finished:
        return True
    if mark.style == "가." and mark.value == 3 and _VERB_STEM.search(a.text) and not a.space_after:
        return a.text[-1] != "니" and sequence.expects(mark, b.box.x0)
    if mark.style in AMBIGUOUS:
        return sequence.expects(mark, b.box.x0)
    return not _CIRCLED_REFERENCE.match(b.text)


def _pull_continuation(blocks: list[Block], at: int, margins: _Margins, sequence: _Sequence) -> None:
    """If a frame or table interrupts the paragraph of a line, move the rest of the paragraph before it."""
    line = blocks[at]
    if not isinstance(line, TextLine) or line.region.kind not in ("page", "column") or _finished(line):
        return
    end = at + 1
    while end < len(blocks) and end - at <= MAX_FLOATING and _floats(blocks[end], line):
        end += 1
    if end == at + 1 or end == len(blocks):
        return
    rest = blocks[end]
    if not isinstance(rest, TextLine) or rest.region.kind not in ("page", "column") or rest.page > line.page + 1:
        return
    if abs(rest.size - line.size) > SAME_SIZE * line.size or not margins.is_full(line, rest):
        return
    if heading_style(rest.text) or _starts_paragraph(line, rest, sequence):
        return
    last = end
    while last + 1 < len(blocks):
        a, b = blocks[last], blocks[last + 1]
        if not (isinstance(a, TextLine) and isinstance(b, TextLine) and a.region is b.region):
            break
        if not margins.is_full(a, b) or _starts_paragraph(a, b, sequence):
            break
        last += 1
    moved = blocks[end : last + 1]
    del blocks[end : last + 1]
    blocks[at + 1 : at + 1] = moved


def _floats(block: Block, line: TextLine) -> bool:
    """Return whether a block is not part of the running text that a line belongs to: table, frame, or side note."""
    if isinstance(block, TableBlock) or block.region.kind == "frame":
        return True
    narrow = block.region.right - block.region.left < SIDE_NOTE * (line.region.right - line.region.left)
    other = block.region is not line.region and block.region.kind == "column" and block.page == line.page
    return other and (narrow or block.size < (1 - SAME_SIZE) * line.size)
