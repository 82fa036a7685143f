"""Reads the ruling lines, filled areas and pictures of a PDF page through PDFium."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from insurance_rag.ingest.readers.pdf_layout.geometry import Box, Frame

MAX_OBJECTS = 20_000
"""Objects of a page that are looked at. Drawings with more are no tables."""
MAX_DEPTH = 8
"""Nesting of form objects."""
LINE_WIDTH = 2.5
"""A rectangle that is at most this thin, in points, is a line."""
MIN_EDGE = 3.0
WHITE = 250

Matrix = tuple[float, float, float, float, float, float]
Point = tuple[float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


class Edge(NamedTuple):
    """A horizontal or vertical line."""

    horizontal: bool
    at: float
    """Distance from the top (horizontal) or from the left (vertical), in points."""
    start: float
    end: float


@dataclass
class Shapes:
    """The shapes of a page in its frame."""

    edges: list[Edge] = field(default_factory=list)
    filled: list[Box] = field(default_factory=list)
    """Areas filled with a color other than white."""
    images: list[Box] = field(default_factory=list)
    image_share: float = 0.0
    """Share of the page that the largest picture covers."""
    n_objects: int = 0
    """Number of paths and pictures."""

    def painted_at(self, x: float, y: float) -> bool:
        """Return whether a filled area or a picture is at this point."""
        return any(box.contains(x, y) for box in self.filled) or any(box.contains(x, y) for box in self.images)


def read_shapes(page: Any, frame: Frame) -> Shapes:
    """Read the shapes of a pypdfium2 page. Positions are in the given frame."""
    import pypdfium2.raw as pdfium

    shapes = Shapes()
    for item, matrix in _objects(page.raw, pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject, IDENTITY, 0):
        if shapes.n_objects >= MAX_OBJECTS:
            break
        kind = pdfium.FPDFPageObj_GetType(item)
        if kind == pdfium.FPDF_PAGEOBJ_PATH:
            shapes.n_objects += 1
            _add_path(shapes, item, _multiply(_matrix(item), matrix), frame)
        elif kind in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_SHADING):
            shapes.n_objects += 1
            full = _multiply(_matrix(item), matrix)
            corners = [_apply(full, p) for p in ((0, 0), (1, 0), (0, 1), (1, 1))]
            xs, ys = [p[0] for p in corners], [p[1] for p in corners]
            shapes.images.append(frame.box(min(xs), min(ys), max(xs), max(ys)))
    area = frame.width * frame.height
    shapes.image_share = max((box.area / area for box in shapes.images), default=0.0) if area else 0.0
    return shapes


def _objects(parent: Any, count: Any, get: Any, matrix: Matrix, depth: int) -> Iterator[tuple[Any, Matrix]]:
    """Yield the objects of a page or form that are not forms, with the matrix of their parent."""
    import pypdfium2.raw as pdfium

    for i in range(count(parent)):
        item = get(parent, i)
        if not item:
            continue
        if pdfium.FPDFPageObj_GetType(item) != pdfium.FPDF_PAGEOBJ_FORM:
            yield item, matrix
        elif depth < MAX_DEPTH:
            inner = _multiply(_matrix(item), matrix)
            yield from _objects(item, pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject, inner, depth + 1)


def _matrix(item: Any) -> Matrix:
    import pypdfium2.raw as pdfium

    m = pdfium.FS_MATRIX()
    return (m.a, m.b, m.c, m.d, m.e, m.f) if pdfium.FPDFPageObj_GetMatrix(item, m) else IDENTITY


def _multiply(m: Matrix, n: Matrix) -> Matrix:
    """Return the matrix that applies `m`, then `n`."""
    return (
        m[0] * n[0] + m[1] * n[2],
        m[0] * n[1] + m[1] * n[3],
        m[2] * n[0] + m[3] * n[2],
        m[2] * n[1] + m[3] * n[3],
        m[4] * n[0] + m[5] * n[2] + n[4],
        m[4] * n[1] + m[5] * n[3] + n[5],
    )


def _apply(m: Matrix, p: Point) -> Point:
    return p[0] * m[0] + p[1] * m[2] + m[4], p[0] * m[1] + p[1] * m[3] + m[5]


def _add_path(shapes: Shapes, item: Any, matrix: Matrix, frame: Frame) -> None:
    import pypdfium2.raw as pdfium

    fill_mode, stroke = ctypes.c_int(0), ctypes.c_int(0)
    pdfium.FPDFPath_GetDrawMode(item, fill_mode, stroke)
    if not fill_mode.value and not stroke.value:
        return
    subpaths, curved = _subpaths(item, matrix)
    dark = bool(fill_mode.value) and not _is_white(item)
    for points in subpaths:
        placed = [frame.point(*p) for p in points]
        xs, ys = [p[0] for p in placed], [p[1] for p in placed]
        box = Box(min(xs), min(ys), max(xs), max(ys))
        if not stroke.value and min(box.width, box.height) > LINE_WIDTH:
            if dark:
                shapes.filled.append(box)
        elif min(box.width, box.height) <= LINE_WIDTH:
            shapes.edges.extend(_line(box))
        elif curved and box.width > 40 and box.height > 20:  # a frame with round corners
            shapes.edges.extend(_sides(box))
        else:
            for a, b in pairwise(placed):
                shapes.edges.extend(_line(Box(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))))
            if dark:
                shapes.filled.append(box)


def _line(box: Box) -> list[Edge]:
    if box.width >= MIN_EDGE and box.height <= LINE_WIDTH:
        return [Edge(True, (box.top + box.bottom) / 2, box.x0, box.x1)]
    if box.height >= MIN_EDGE and box.width <= LINE_WIDTH:
        return [Edge(False, (box.x0 + box.x1) / 2, box.top, box.bottom)]
    return []


def _sides(box: Box) -> list[Edge]:
    return [
        Edge(True, box.top, box.x0, box.x1),
        Edge(True, box.bottom, box.x0, box.x1),
        Edge(False, box.x0, box.top, box.bottom),
        Edge(False, box.x1, box.top, box.bottom),
    ]


def _subpaths(item: Any, matrix: Matrix) -> tuple[list[list[Point]], bool]:
    """Return the points of each part of a path, and whether it has curves."""
    import pypdfium2.raw as pdfium

    x, y = ctypes.c_float(0), ctypes.c_float(0)
    parts: list[list[Point]] = []
    curved = False
    for i in range(min(pdfium.FPDFPath_CountSegments(item), MAX_OBJECTS)):
        segment = pdfium.FPDFPath_GetPathSegment(item, i)
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        point = _apply(matrix, (x.value, y.value))
        if kind == pdfium.FPDF_SEGMENT_MOVETO or not parts:
            parts.append([point])
        else:
            curved = curved or kind == pdfium.FPDF_SEGMENT_BEZIERTO
            parts[-1].append(point)
        if pdfium.FPDFPathSegment_GetClose(segment):
            parts[-1].append(parts[-1][0])
    return parts, curved


def _is_white(item: Any) -> bool:
    import pypdfium2.raw as pdfium

    channels = [ctypes.c_uint(0) for _ in range(4)]
    known = pdfium.FPDFPageObj_GetFillColor(item, *channels)
    return bool(known) and (channels[3].value == 0 or all(c.value >= WHITE for c in channels[:3]))
