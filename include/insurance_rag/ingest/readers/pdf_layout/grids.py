"""Finds tables and frames in the ruling lines of a page.

Lines that touch each other form a component. The bounding box of a component is divided at the positions of its lines,
and parts without a line between them are merged to one cell. Tables whose left and right sides are open are found too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from insurance_rag.ingest.readers.pdf_layout.geometry import Box, around
from insurance_rag.ingest.readers.pdf_layout.shapes import Edge, Shapes

TOUCH = 3.0
"""Lines closer than this, in points, touch each other or are the same line."""
MAX_EDGES = 3_000
"""Pages with more lines are drawings."""
MAX_POSITIONS = 150
"""A grid with more different positions is a drawing."""
MIN_FRAME = (60.0, 14.0)
"""A smaller frame, in points, surrounds a word, or is a box to tick."""
MIN_SHADE = (100.0, 28.0)
"""A filled area without lines is a frame from this size on. Smaller ones are marked words."""


@dataclass(frozen=True)
class Cell:
    """A cell of a grid. It spans the rows `row` to `row_end` - 1, and the columns likewise."""

    box: Box
    row: int
    row_end: int
    column: int
    column_end: int


@dataclass(frozen=True)
class Grid:
    """Cells that belong together. A frame around text is a grid of one cell."""

    box: Box
    cells: tuple[Cell, ...]
    n_rows: int
    n_columns: int


def find_grids(shapes: Shapes, page: Box) -> list[Grid]:
    """Return the grids of a page, the smallest first, so that a cell inside a cell comes before the outer one."""
    if len(shapes.edges) > MAX_EDGES:
        return []
    components = _components(_merge(shapes.edges))
    grids = [grid for component in components if (grid := _grid(component)) is not None]
    for box in shapes.filled:
        large = box.width >= MIN_SHADE[0] and box.height >= MIN_SHADE[1] and box.area < 0.8 * page.area
        if large and not any(g.box.overlaps(box) and not box.encloses(g.box, -TOUCH) for g in grids):
            grids.append(Grid(box, (Cell(box, 0, 1, 0, 1),), 1, 1))
    return sorted(grids, key=lambda g: g.box.area)


def _merge(edges: Sequence[Edge]) -> list[Edge]:
    """Join collinear edges that touch each other, such as the dashes of a dotted line."""
    merged: list[Edge] = []
    for horizontal in (True, False):
        lanes: list[list[Edge]] = []
        for edge in sorted((e for e in edges if e.horizontal == horizontal), key=lambda e: e.at):
            if not lanes or edge.at - lanes[-1][0].at > TOUCH / 2:
                lanes.append([])
            lanes[-1].append(edge)
        for lane in lanes:
            at = sum(e.at for e in lane) / len(lane)
            start, end = 0.0, -1e9
            for edge in sorted(lane, key=lambda e: e.start):
                if edge.start > end + TOUCH:
                    if end > start:
                        merged.append(Edge(horizontal, at, start, end))
                    start = edge.start
                    end = edge.end
                end = max(end, edge.end)
            if end > start:
                merged.append(Edge(horizontal, at, start, end))
    return [e for e in merged if e.end - e.start > TOUCH]


def _touch(h: Edge, v: Edge) -> bool:
    return v.start - TOUCH <= h.at <= v.end + TOUCH and h.start - TOUCH <= v.at <= h.end + TOUCH


def _components(edges: list[Edge]) -> list[list[Edge]]:
    """Group the edges that touch each other directly or through others."""
    group = list(range(len(edges)))

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    vertical = [i for i, e in enumerate(edges) if not e.horizontal]
    for i, h in enumerate(edges):
        if h.horizontal:
            for j in vertical:
                if _touch(h, edges[j]):
                    group[root(i)] = root(j)
    found: dict[int, list[Edge]] = {}
    for i, edge in enumerate(edges):
        found.setdefault(root(i), []).append(edge)
    return list(found.values())


def _positions(values: list[float]) -> list[float]:
    """Return the different positions among the values, in order."""
    clusters: list[list[float]] = []
    for value in sorted(values):
        if not clusters or value - clusters[-1][-1] > TOUCH:
            clusters.append([])
        clusters[-1].append(value)
    return [sum(c) / len(c) for c in clusters]


def _grid(edges: list[Edge]) -> Grid | None:
    """Return the grid that a component draws, or None if it draws none."""
    horizontal, vertical = [e for e in edges if e.horizontal], [e for e in edges if not e.horizontal]
    if len(horizontal) < 2 or not vertical:
        return None
    ys = _positions([e.at for e in horizontal] + [y for e in vertical for y in (e.start, e.end)])
    xs = _positions([e.at for e in vertical] + [x for e in horizontal for x in (e.start, e.end)])
    if not (2 <= len(xs) <= MAX_POSITIONS and 2 <= len(ys) <= MAX_POSITIONS):
        return None
    box = Box(xs[0], ys[0], xs[-1], ys[-1])
    if box.width < MIN_FRAME[0] or box.height < MIN_FRAME[1]:
        return None
    cells = _cells(xs, ys, horizontal, vertical)
    # A table or a frame has text in its cells, so most of its cells are not slivers.
    cells = [c for c in cells if c.box.width > 2 * TOUCH and c.box.height > 2 * TOUCH]
    return Grid(box, tuple(cells), len(ys) - 1, len(xs) - 1) if cells else None


def _cells(xs: list[float], ys: list[float], horizontal: list[Edge], vertical: list[Edge]) -> list[Cell]:
    """Merge the elementary rectangles that have no line between them."""
    n_rows, n_columns = len(ys) - 1, len(xs) - 1
    walls_right = _walls(vertical, xs[1:-1], list(pairwise(ys)))
    walls_below = _walls(horizontal, ys[1:-1], list(pairwise(xs)))
    seen: set[tuple[int, int]] = set()
    cells = []
    for row in range(n_rows):
        for column in range(n_columns):
            if (row, column) in seen:
                continue
            members, stack = {(row, column)}, [(row, column)]
            while stack:
                r, c = stack.pop()
                for near, open_side in (
                    ((r, c + 1), c + 1 < n_columns and (c, r) not in walls_right),
                    ((r, c - 1), c > 0 and (c - 1, r) not in walls_right),
                    ((r + 1, c), r + 1 < n_rows and (r, c) not in walls_below),
                    ((r - 1, c), r > 0 and (r - 1, c) not in walls_below),
                ):
                    if open_side and near not in members and near not in seen:
                        members.add(near)
                        stack.append(near)
            seen |= members
            box = around([Box(xs[c], ys[r], xs[c + 1], ys[r + 1]) for r, c in members])
            rows, columns = [r for r, _ in members], [c for _, c in members]
            cells.append(Cell(box, min(rows), max(rows) + 1, min(columns), max(columns) + 1))
    return cells


def _walls(edges: list[Edge], inner: list[float], spans: list[tuple[float, float]]) -> set[tuple[int, int]]:
    """Return (index in `inner`, index in `spans`) of each part of an inner position that an edge covers."""
    walls = set()
    for edge in edges:
        for i, at in enumerate(inner):
            if abs(edge.at - at) <= TOUCH:
                for j, (start, end) in enumerate(spans):
                    if min(edge.end, end) - max(edge.start, start) > 0.6 * (end - start):
                        walls.add((i, j))
    return walls
