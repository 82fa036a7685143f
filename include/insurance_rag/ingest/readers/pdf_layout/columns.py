"""Sets the reading order of the segments of a page: one column, or columns on the whole page or on a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple, Protocol

from insurance_rag.ingest.readers.pdf_layout.geometry import Box, around
from insurance_rag.ingest.readers.pdf_layout.segments import Segment

MIN_GUTTER = 0.8
"""Minimum width of the gap between two columns, in font sizes."""
MIN_ROWS = 3
"""A column has at least this many lines."""
MANY_ROWS = 8
"""Next to a column with this many lines, a single line is a column too: a note at the side."""
MIN_CHARACTERS = 7
"""Median number of characters per line of a column. Shorter lines are labels or figures next to a text."""
MIN_FILL = 0.45
"""Median share of the width of a column that its lines fill."""
MIN_SIDE_BY_SIDE = 0.4
"""Share of the height of the shorter column that has the other column next to it."""
MAX_DEPTH = 4


class Item(Protocol):
    """A segment, or a table or frame that takes its place in the reading order as a whole."""

    @property
    def box(self) -> Box: ...


@dataclass(frozen=True)
class Column:
    """Items in reading order. `box` is the area of the column."""

    box: Box
    rows: tuple[tuple[Item, ...], ...]
    """Items side by side in one line, the lines from top to bottom."""
    is_side: bool = False
    """Whether another column is next to this one."""


class _Gap(NamedTuple):
    x0: float
    x1: float


def reading_order(items: Sequence[Item], depth: int = 0, is_side: bool = False) -> list[Column]:
    """Return the columns of a region in the order in which they are read.

    `depth` and `is_side` describe the part of a page that the items are, when the function calls itself.
    """
    if not items:
        return []
    bands = _bands(items)
    found = _best_group(bands) if depth < MAX_DEPTH else None
    if found is None:
        return [_column(items, is_side)]
    first, last, gutter = found
    inside = [item for band in bands[first : last + 1] for item in band]
    middle = (gutter.x0 + gutter.x1) / 2
    left = [item for item in inside if item.box.x1 <= middle]
    right = [item for item in inside if item.box.x1 > middle]
    above = [item for band in bands[:first] for item in band]
    below = [item for band in bands[last + 1 :] for item in band]
    parts = ((above, is_side), (left, True), (right, True), (below, is_side))
    return [column for part, side in parts for column in reading_order(part, depth + 1, side)]


def _column(items: Sequence[Item], is_side: bool) -> Column:
    return Column(around([item.box for item in items]), tuple(tuple(row) for row in _rows(items)), is_side)


def _rows(items: Sequence[Item]) -> list[list[Item]]:
    """Group the segments with the same baseline. A table or frame is a row by itself."""
    rows: list[list[Item]] = []
    for item in sorted(items, key=lambda i: (_position(i), i.box.x0)):
        near = rows[-1][0] if rows else None
        if isinstance(item, Segment) and isinstance(near, Segment) and _same_line(item, near):
            rows[-1].append(item)
        else:
            rows.append([item])
    return [sorted(row, key=lambda i: i.box.x0) for row in rows]


def _same_line(a: Segment, b: Segment) -> bool:
    return abs(a.baseline - b.baseline) <= 0.5 * min(a.size, b.size)


def _position(item: Item) -> float:
    return item.baseline if isinstance(item, Segment) else item.box.top + 5


def _size(items: Sequence[Item]) -> float:
    return median([item.size for item in items if isinstance(item, Segment)] or [10.0])


def _bands(items: Sequence[Item]) -> list[list[Item]]:
    """Group items that overlap vertically, from top to bottom."""
    bands: list[list[Item]] = []
    bottom = 0.0
    for item in sorted(items, key=lambda i: i.box.top):
        slack = 0.15 * item.box.height
        if bands and item.box.top + slack < bottom:
            bands[-1].append(item)
            bottom = max(bottom, item.box.bottom - slack)
        else:
            bands.append([item])
            bottom = item.box.bottom - slack
    return bands


def _gaps(band: Sequence[Item], minimum: float) -> list[_Gap]:
    """Return the vertical gaps inside a band that are at least `minimum` wide."""
    gaps, end = [], None
    for item in sorted(band, key=lambda i: i.box.x0):
        if end is not None and item.box.x0 - end >= minimum:
            gaps.append(_Gap(end, item.box.x0))
        end = item.box.x1 if end is None else max(end, item.box.x1)
    return gaps


def _narrowed(gutter: _Gap, band: Sequence[Item], minimum: float) -> _Gap | None:
    """Return the widest part of the gutter that no item of the band crosses; None if it is too narrow."""
    parts, start = [], gutter.x0
    for item in sorted(band, key=lambda i: i.box.x0):
        if item.box.x1 > start and item.box.x0 < gutter.x1:
            parts.append(_Gap(start, min(item.box.x0, gutter.x1)))
            start = max(start, item.box.x1)
    parts.append(_Gap(start, gutter.x1))
    widest = max(parts, key=lambda g: g.x1 - g.x0)
    return widest if widest.x1 - widest.x0 >= minimum else None


def _best_group(bands: Sequence[Sequence[Item]]) -> tuple[int, int, _Gap] | None:
    """Return (first band, last band, gutter) of the largest part of a region that has columns."""
    minimum = MIN_GUTTER * _size([item for band in bands for item in band])
    best: tuple[int, int, _Gap] | None = None
    tried: set[tuple[int, int]] = set()
    for at, band in enumerate(bands):
        for gap in _gaps(band, minimum):
            first, last, gutter = _grow(bands, at, gap, minimum)
            if (first, round(gutter.x0)) in tried:
                continue
            tried.add((first, round(gutter.x0)))
            first, last = _trimmed(bands, first, last, gutter)
            if (best is None or last - first > best[1] - best[0]) and _are_columns(bands[first : last + 1], gutter):
                best = (first, last, gutter)
    return best


def _grow(bands: Sequence[Sequence[Item]], at: int, gutter: _Gap, minimum: float) -> tuple[int, int, _Gap]:
    """Extend a gutter to the bands above and below that do not cross it."""
    first = last = at
    while last + 1 < len(bands) and (narrowed := _narrowed(gutter, bands[last + 1], minimum)):
        gutter, last = narrowed, last + 1
    while first > 0 and (narrowed := _narrowed(gutter, bands[first - 1], minimum)):
        gutter, first = narrowed, first - 1
    return first, last, gutter


def _sides(band: Sequence[Item], gutter: _Gap) -> tuple[bool, bool]:
    middle = (gutter.x0 + gutter.x1) / 2
    return any(i.box.x1 <= middle for i in band), any(i.box.x1 > middle for i in band)


def _trimmed(bands: Sequence[Sequence[Item]], first: int, last: int, gutter: _Gap) -> tuple[int, int]:
    """Leave out bands with one side only that a wide space separates from the columns."""
    both = [i for i in range(first, last + 1) if all(_sides(bands[i], gutter))]
    if not both:
        return first, last
    boxes = [around([item.box for item in band]) for band in bands]
    spaces = [b.top - a.bottom for a, b in pairwise(boxes[first : last + 1])]
    usual = 2.5 * max(median(spaces), 2.0) + 3 if spaces else 12.0
    start, end = both[0], both[-1]
    while start > first and boxes[start].top - boxes[start - 1].bottom <= usual:
        start -= 1
    while end < last and boxes[end + 1].top - boxes[end].bottom <= usual:
        end += 1
    return start, end


def _are_columns(bands: Sequence[Sequence[Item]], gutter: _Gap) -> bool:
    """Return whether both sides of the gutter are running text, not the columns of a table or a list of figures."""
    middle = (gutter.x0 + gutter.x1) / 2
    items = [item for band in bands for item in band]
    left = [item for item in items if item.box.x1 <= middle]
    right = [item for item in items if item.box.x1 > middle]
    if not left or not right:
        return False
    a, b = around([i.box for i in left]), around([i.box for i in right])
    shared = min(a.bottom, b.bottom) - max(a.top, b.top)
    if shared < MIN_SIDE_BY_SIDE * min(a.height, b.height):
        return False
    n_left, n_right = len(_rows(left)), len(_rows(right))
    rows_left = 1 if n_right >= MANY_ROWS else MIN_ROWS
    rows_right = 1 if n_left >= MANY_ROWS else MIN_ROWS
    return _is_running_text(left, a.width, rows_left) and _is_running_text(right, b.width, rows_right)


def _is_running_text(items: Sequence[Item], width: float, min_rows: int) -> bool:
    rows = _rows(items)
    blocks = [row for row in rows if not isinstance(row[0], Segment)]
    texts = [[item for item in row if isinstance(item, Segment)] for row in rows]
    texts = [row for row in texts if row]
    if len(texts) + MIN_ROWS * len(blocks) < min_rows:
        return False
    if not texts:
        return True
    fill = median([(row[-1].box.x1 - row[0].box.x0) / width for row in texts]) if width else 0.0
    characters = median([sum(len(item.text) for item in row) for row in texts])
    return characters >= MIN_CHARACTERS and (fill >= MIN_FILL or bool(blocks))
