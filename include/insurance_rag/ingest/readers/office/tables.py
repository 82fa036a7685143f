"""Builds tables from cells that span rows and columns. Used for DOCX, HWPX and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from insurance_rag.ingest.document import Line, Table

MAX_SPAN = 500
"""Larger spans are mistakes."""
MAX_CELLS = 200_000


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `column` is its first column if the format states it; else the first free one is used."""

    lines: tuple[str, ...]
    row_span: int = 1
    column_span: int = 1
    column: int | None = None


def table_or_lines(rows: Sequence[Sequence[Cell]]) -> list[Line | Table]:
    """Return a table. A table with one column is a frame around text, so its cells become lines."""
    grid = _grid(rows)
    width = max((len(row) for row in grid), default=0)
    if width <= 1:
        return [Line(text) for row in rows for cell in row for text in cell.lines if text]
    filled = tuple(tuple(row) + ("",) * (width - len(row)) for row in grid)
    kept = tuple(row for row in filled if any(row))
    return [Table(kept)] if kept else []


def _grid(rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
    """Return the texts of all positions. The text of a cell that spans positions is repeated."""
    grid: list[dict[int, str]] = [{} for _ in rows]
    n_cells = 0
    for y, row in enumerate(rows):
        x = 0
        for cell in row:
            x = cell.column if cell.column is not None else x
            while cell.column is None and x in grid[y]:
                x += 1
            text = " ".join(line for line in cell.lines if line)
            for dy in range(min(cell.row_span, MAX_SPAN, len(rows) - y)):
                for dx in range(min(cell.column_span, MAX_SPAN)):
                    n_cells += 1
                    if n_cells <= MAX_CELLS:
                        grid[y + dy].setdefault(x + dx, text)
            x += cell.column_span
    return [[row.get(x, "") for x in range(max(row, default=-1) + 1)] for row in grid]
