"""Turns the segments and grids of a page into lines and tables in reading order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from insurance_rag.ingest.readers.pdf_layout.columns import Column, Item, reading_order
from insurance_rag.ingest.readers.pdf_layout.geometry import Box, around
from insurance_rag.ingest.readers.pdf_layout.grids import Cell, Grid
from insurance_rag.ingest.readers.pdf_layout.segments import Page, Segment

ALIGNED = 2.0
"""Baselines of lines in different cells that differ by at most this, in points, are in one line."""
MIN_SHARED_LINES = 3
"""A row of a table whose cells all have this many lines, side by side, has no ruling lines between its rows."""
MIN_LAYOUT_LINES = 6
"""If every cell of a table with one row has this many lines, the table is a page with columns."""


RegionKind = Literal["page", "column", "frame", "cell"]


@dataclass(frozen=True, eq=False)
class Region:
    """The area that limits the lines of a paragraph. `eq=False`: each region is different, also with equal fields."""

    left: float
    right: float
    kind: RegionKind


@dataclass(frozen=True, eq=False)
class TextLine:
    """A line of text as a reader sees it."""

    text: str
    page: int
    box: Box
    baseline: float
    size: float
    space_after: bool
    region: Region
    gap_before_last: float = 0.0
    """Width of the gap before the last piece of the line, in points, e.g. before a page number at the right edge."""


@dataclass(frozen=True, eq=False)
class TableBlock:
    """A table: for each cell its lines, and the positions that it spans."""

    page: int
    box: Box
    n_rows: int
    n_columns: int
    cells: tuple[tuple[Cell, tuple[TextLine, ...]], ...]


Block = TextLine | TableBlock


@dataclass(eq=False)
class _GridItem:
    """A grid as one item of the reading order, with the grids inside its cells."""

    grid: Grid
    segments: dict[int, list[Segment]]
    inner: list[_GridItem] = field(default_factory=list)

    @property
    def box(self) -> Box:
        return self.grid.box

    @property
    def n_segments(self) -> int:
        return sum(map(len, self.segments.values()))


def page_blocks(page: Page) -> list[Block]:
    """Return the lines and tables of a page in reading order."""
    free: list[Item] = [s for s in page.segments if s.grid < 0]
    grids = _nested([_grid_item(page, i) for i in range(len(page.grids))])
    blocks = [*_region(page, [*free, *grids], "page")]
    for segments in page.sideways:
        blocks += _region(page, segments, "column")
    return blocks


def _grid_item(page: Page, index: int) -> _GridItem:
    segments: dict[int, list[Segment]] = {}
    for segment in page.segments:
        if segment.grid == index:
            segments.setdefault(segment.cell, []).append(segment)
    return _GridItem(page.grids[index], segments)


def _nested(items: list[_GridItem]) -> list[_GridItem]:
    """Put each grid into the smallest frame that contains it. Returns the grids that are in none."""
    outer: list[_GridItem] = []
    for i, item in enumerate(items):
        parent = next((o for o in items[i + 1 :] if o.box.encloses(item.box) and _is_frame(o)), None)
        (parent.inner if parent else outer).append(item)
    return [item for item in outer if item.n_segments or item.inner]


def _is_frame(item: _GridItem) -> bool:
    """Return whether a grid surrounds text instead of arranging it in columns."""
    if item.grid.n_columns == 1:
        return True
    used = {i for i, segments in item.segments.items() if segments}
    return len({item.grid.cells[i].column for i in used}) <= 1 and len(used) <= 1


def _is_layout(item: _GridItem) -> bool:
    """Return whether a grid with one row is a page whose columns have a line between them."""
    rows = {cell.row for i, cell in enumerate(item.grid.cells) if item.segments.get(i)}
    return (
        len(rows) == 1
        and len(item.segments) > 1
        and not item.inner
        and all(len(_baselines(s)) >= MIN_LAYOUT_LINES and _fills(s, item, i) for i, s in item.segments.items())
    )


def _fills(segments: Sequence[Segment], item: _GridItem, cell: int) -> bool:
    width = item.grid.cells[cell].box.width
    wide = [s for s in segments if s.box.width > 0.6 * width]
    return 2 * len(wide) >= len(segments)


def _region(page: Page, items: Sequence[Item], kind: RegionKind, box: Box | None = None) -> Iterator[Block]:
    columns = reading_order(items)
    if not columns:
        return
    whole = box or around([column.box for column in columns])
    for column in columns:
        if column.is_side and kind == "page":
            region = Region(column.box.x0, column.box.x1, "column")
        else:
            region = Region(whole.x0, whole.x1, kind)
        yield from _column(page, column, region)


def _column(page: Page, column: Column, region: Region) -> Iterator[Block]:
    for row in column.rows:
        first = row[0]
        if isinstance(first, _GridItem):
            yield from _grid(page, first)
        else:
            yield _line(page.number, [s for s in row if isinstance(s, Segment)], region)


def _line(page: int, row: Sequence[Segment], region: Region) -> TextLine:
    longest = max(row, key=lambda s: len(s.text))
    gap = row[-1].box.x0 - row[-2].box.x1 if len(row) > 1 else 0.0
    text = " ".join(s.text for s in row)
    box = around([s.box for s in row])
    return TextLine(text, page, box, longest.baseline, longest.size, row[-1].space_after, region, gap)


def _grid(page: Page, item: _GridItem) -> Iterator[Block]:
    if _is_frame(item):
        segments = [s for cell in item.segments.values() for s in cell]
        items: list[Item] = [*segments, *item.inner]
        yield from _region(page, items, "frame", _inner_box(item.box, segments))
    elif _is_layout(item):
        for cell in sorted(item.segments, key=lambda i: item.grid.cells[i].column):
            yield from _region(page, item.segments[cell], "column")
    else:
        yield _table(page, item)
        for inner in item.inner:
            yield from _grid(page, inner)


def _inner_box(box: Box, segments: Sequence[Segment]) -> Box:
    """Return the area for text inside a frame: as far from its right side as the text is from its left side."""
    if not segments:
        return box
    left = min(s.box.x0 for s in segments)
    right = max(s.box.x1 for s in segments)
    return Box(left, box.top, max(right, box.x1 - max(left - box.x0, 0.0) - 4), box.bottom)


def _table(page: Page, item: _GridItem) -> TableBlock:
    """Return the cells of a grid with their lines. Rows without ruling lines between them are separated."""
    lines = [_cell_lines(page, item, i) for i in range(len(item.grid.cells))]
    shared = [_shared_lines(item, row, lines) for row in range(item.grid.n_rows)]
    starts = [0, *accumulate(max(n, 1) for n in shared)]
    cells: list[tuple[Cell, tuple[TextLine, ...]]] = []
    for cell, found in zip(item.grid.cells, lines, strict=True):
        start = starts[cell.row]
        if shared[cell.row] and found:
            cells += [(replace(cell, row=start + k, row_end=start + k + 1), (line,)) for k, line in enumerate(found)]
        else:
            cells.append((replace(cell, row=start, row_end=starts[cell.row_end]), found))
    return TableBlock(page.number, item.box, starts[-1], item.grid.n_columns, tuple(cells))


def _cell_lines(page: Page, item: _GridItem, index: int) -> tuple[TextLine, ...]:
    segments = item.segments.get(index, [])
    box = item.grid.cells[index].box
    region = Region(box.x0, box.x1, "cell")
    columns = reading_order(segments)
    return tuple(block for column in columns for block in _column(page, column, region) if isinstance(block, TextLine))


def _baselines(segments: Sequence[Segment]) -> list[float]:
    return sorted({round(s.baseline / ALIGNED) for s in segments})


def _shared_lines(item: _GridItem, row: int, lines: Sequence[tuple[TextLine, ...]]) -> int:
    """Return the number of lines that all cells of a row share, if they are rows without ruling lines; else 0."""
    cells = item.grid.cells
    filled = {i: found for i, found in enumerate(lines) if found and cells[i].row <= row < cells[i].row_end}
    if len(filled) < 2 or any(cells[i].row_end - cells[i].row > 1 for i in filled):
        return 0
    first, *others = filled.values()
    n = len(first)
    if n < MIN_SHARED_LINES or any(len(other) != n for other in others):
        return 0
    aligned = all(
        abs(a.baseline - b.baseline) <= ALIGNED for other in others for a, b in zip(first, other, strict=True)
    )
    running = any(
        sum(line.box.width > 0.85 * cells[i].box.width for line in found) > n / 2 for i, found in filled.items()
    )
    return n if aligned and not running else 0
