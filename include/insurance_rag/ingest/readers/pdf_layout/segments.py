"""Groups characters to segments: pieces of lines without wide gaps, each inside one cell or outside all cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from insurance_rag.ingest.readers.pdf_layout.geometry import Box
from insurance_rag.ingest.readers.pdf_layout.glyphs import Glyph, PageText
from insurance_rag.ingest.readers.pdf_layout.grids import Cell, Grid, find_grids

WIDE_GAP = 0.9
"""A gap between two characters that is wider than this, in font sizes, ends a segment."""
NARROW_GAP = 0.22
"""On a page without space characters, a gap that is wider than this, in font sizes, is a space."""
CLEAR_GAP = 0.7
"""On other pages, a gap without a space character is a space only if it is wider than this, in font sizes."""
BASELINE = 0.35
"""Characters whose baselines differ by at most this, in font sizes, are in one line."""
SMALL = 0.8
"""A character smaller than this share of its neighbor's size may be a superscript or subscript."""


@dataclass(frozen=True, eq=False)
class Segment:
    """A piece of a line. `eq=False`: two segments are equal only if they are the same object."""

    text: str
    box: Box
    baseline: float
    size: float
    space_after: bool
    """Whether the PDF has a space character after the last character."""
    grid: int = -1
    """Index of the grid that contains the segment, or -1."""
    cell: int = -1


@dataclass
class Page:
    """A page as segments and grids. It is small, so that the pages of a long document fit into the memory."""

    number: int
    width: float
    height: float
    segments: list[Segment]
    grids: list[Grid] = field(default_factory=list)
    sideways: list[list[Segment]] = field(default_factory=list)
    """Segments of the text in other writing directions, each direction by itself."""


def divide(text: PageText) -> Page:
    """Return the segments of a page."""
    width, height = text.frame.width, text.frame.height
    grids = find_grids(text.shapes, Box(0, 0, width, height))
    cells = [(g, c, cell) for g, grid in enumerate(grids) for c, cell in enumerate(grid.cells)]
    groups: dict[tuple[int, int], list[Glyph]] = {}
    for glyph in text.glyphs:
        groups.setdefault(_place(glyph, cells), []).append(glyph)
    segments = []
    spaced = _uses_spaces(text.glyphs)
    for (grid, cell), glyphs in groups.items():
        segments += [s for row in _rows(glyphs) for s in _segments(row, spaced, grid, cell)]
    sideways = [
        [s for row in _rows(glyphs) for s in _segments(row, _uses_spaces(glyphs), -1, -1)] for glyphs in text.sideways
    ]
    return Page(text.number, width, height, segments, grids, sideways)


def _place(glyph: Glyph, cells: Sequence[tuple[int, int, Cell]]) -> tuple[int, int]:
    """Return the grid and the cell that contain a character. Smaller grids come first in `cells`."""
    x, y = (glyph.x0 + glyph.x1) / 2, glyph.baseline - 0.3 * glyph.size
    for grid, cell, candidate in cells:
        if candidate.box.contains(x, y):
            return grid, cell
    return -1, -1


def _uses_spaces(glyphs: Sequence[Glyph]) -> bool:
    """Return whether the PDF has space characters between words, instead of gaps only."""
    return sum(g.after_space for g in glyphs) > 0.03 * len(glyphs)


def _rows(glyphs: Sequence[Glyph]) -> list[list[Glyph]]:
    """Group characters by their baselines. Superscripts and subscripts join the line next to them."""
    rows: list[list[Glyph]] = []
    for glyph in sorted(glyphs, key=lambda g: g.baseline):
        if rows:
            near = rows[-1][-1]
            if glyph.baseline - rows[-1][0].baseline <= BASELINE * min(near.size, glyph.size):
                rows[-1].append(glyph)
                continue
        rows.append([glyph])
    return _with_scripts(rows)


def _with_scripts(rows: list[list[Glyph]]) -> list[list[Glyph]]:
    """Merge rows of small characters into the row next to them if they directly follow its characters."""
    merged: list[list[Glyph]] = []
    for row in rows:
        if merged and (_is_script(row, merged[-1]) or _is_script(merged[-1], row)):
            merged[-1] = merged[-1] + row
        else:
            merged.append(row)
    return merged


def _is_script(small: list[Glyph], large: list[Glyph]) -> bool:
    size = max(g.size for g in large)
    if len(small) > 12 or max(g.size for g in small) > SMALL * size:
        return False
    if abs(small[0].baseline - large[0].baseline) > 0.7 * size:
        return False
    ends = [g.x1 for g in large]
    return all(
        min(abs(g.x0 - end) for end in (*ends, *(o.x1 for o in small if o is not g))) < 0.3 * size for g in small
    )


def _segments(row: list[Glyph], spaced: bool, grid: int, cell: int) -> list[Segment]:
    """Split a row of characters at wide gaps."""
    row = _without_copies(sorted(row, key=lambda g: g.x0))
    parts = [[row[0]]]
    for previous, glyph in pairwise(row):
        if glyph.x0 - previous.x1 > WIDE_GAP * max(previous.size, glyph.size):
            parts.append([glyph])
        else:
            parts[-1].append(glyph)
    return [_segment(part, spaced, grid, cell) for part in parts]


def _without_copies(row: list[Glyph]) -> list[Glyph]:
    """Remove characters drawn twice at nearly the same place, which makes them look bold."""
    kept: list[Glyph] = []
    for glyph in row:
        copies = (g for g in kept[-3:] if g.char == glyph.char)
        if not any(abs(g.x0 - glyph.x0) < 0.25 * glyph.size for g in copies):
            kept.append(glyph)
    return kept


def _segment(glyphs: list[Glyph], spaced: bool, grid: int, cell: int) -> Segment:
    text = glyphs[0].char
    for previous, glyph in pairwise(glyphs):
        text += (" " if _space_between(previous, glyph, spaced) else "") + glyph.char
    sizes = sorted(g.size for g in glyphs)
    size = sizes[len(sizes) // 2]
    baselines = sorted(g.baseline for g in glyphs)
    baseline = baselines[len(baselines) // 2]
    box = Box(glyphs[0].x0, baseline - 0.85 * size, max(g.x1 for g in glyphs), baseline + 0.2 * size)
    return Segment(text, box, baseline, size, glyphs[-1].before_space, grid, cell)


def _space_between(a: Glyph, b: Glyph, spaced: bool) -> bool:
    """Return whether a space is between two characters. `spaced`: the PDF has space characters."""
    gap = (b.x0 - a.x1) / max(a.size, b.size)
    if not spaced:
        return gap > NARROW_GAP
    return (b.after_space and a.before_space) or (b.after_gap and gap > NARROW_GAP) or gap > CLEAR_GAP
