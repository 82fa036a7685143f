"""Write tables as text: one line per row, with the labels of the row and of its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from insurance_rag.ingest.document import Table
from insurance_rag.korean import clean

MAX_LABEL = 40
"""Longer cells in the first row are text, so the row is not a header."""

_SPACED = re.compile(r"^[가-힣](?: ?[가-힣]){1,9}$")
_DIGITS = re.compile(r"\d+(?:,\d{3})*")
_RANGE = re.compile(r"이상|미만|이하|초과|까지|이내|경과|부터")
_SENTENCE = re.compile(r"[다함음임]\.")


def table_lines(table: Table) -> list[str]:
    """Return the lines of the table: the header, then rows such as `7일까지: 단기요율 연요율의 10%`.

    Empty rows are left out. A table of one column gives its cells, because it is a frame around text.
    """
    rows = [row for row in ([_cell(cell) for cell in row] for row in table.rows) if any(row)]
    rows = _without_empty_columns(rows)
    if not rows:
        return []
    if len(rows[0]) == 1:
        return [row[0] for row in rows]
    captions, rows = _captions(rows)
    header, body = _header(rows)
    labels = _label_columns(body)
    head = [" | ".join(dict.fromkeys(name for name in header if name))] if header else []
    return [*captions, *head, *(_row_line(row, header, labels) for row in body)]


def _cell(text: str) -> str:
    text = " ".join(clean(text).split())
    return text.replace(" ", "") if _SPACED.match(text) and text.count(" ") >= len(text) // 2 else text


def _without_empty_columns(rows: list[list[str]]) -> list[list[str]]:
    width = max((len(row) for row in rows), default=0)
    padded = [row + [""] * (width - len(row)) for row in rows]
    kept = [column for column in range(width) if any(row[column] for row in padded)]
    return [[row[column] for column in kept] for row in padded]


def _captions(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the leading rows that are one merged cell, as lines, and the other rows."""
    n = 0
    while n < len(rows) - 1 and len(set(rows[n])) == 1:
        n += 1
    return [row[0] for row in rows[:n]], rows[n:]


def _header(rows: Sequence[list[str]]) -> tuple[list[str] | None, Sequence[list[str]]]:
    """Return the column labels and the rows below. A header of two rows is joined: `입원 / 1일당`."""
    if len(rows) < 2 or not _is_header(rows[0], rows[1:]):
        return None, rows
    first, second = rows[0], rows[1]
    if len(set(first)) < len(first) and len(rows) > 2 and second[0] == first[0] and second != first:
        return [a if a == b or not b else f"{a} / {b}" for a, b in zip(first, second, strict=True)], rows[2:]
    return first, rows[1:]


def _is_header(row: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Return whether a row consists of labels: short, no sentences, and figures only if they are of one kind.

    Figures are labels if all cells have the same form (`20세`, `30세`) or are ranges (`1년 미만`), and no cell below
    has that form.
    """
    cells = [cell for cell in row if cell]
    if len(cells) < 2 or any(len(cell) > MAX_LABEL or _SENTENCE.search(cell) for cell in cells):
        return False
    figures = [(column, _form(cell)) for column, cell in enumerate(row) if _DIGITS.search(cell)]
    if not figures:
        return True
    forms = {form for _, form in figures}
    below = {_form(other[column]) for other in body for column, _ in figures}
    ranges = all(_RANGE.search(form) for form in forms)
    return (len(forms) == 1 or ranges) and not forms & below and not _DIGITS.search(row[0])


def _form(cell: str) -> str:
    return _DIGITS.sub("0", cell).rstrip(" .")


def _label_columns(rows: Sequence[Sequence[str]]) -> int:
    """Return how many columns at the left name a row: as many as are needed so that all rows differ."""
    for n in range(1, len(rows[0]) - 1):
        if len({tuple(row[:n]) for row in rows}) == len(rows):
            return n
    return max(1, len(rows[0]) - 1)


def _row_line(row: Sequence[str], header: Sequence[str] | None, labels: int) -> str:
    label = " / ".join(dict.fromkeys(cell for cell in row[:labels] if cell))
    if header is None:
        rest = " | ".join(dict.fromkeys(cell for cell in row[labels:] if cell))
    else:
        cells = dict.fromkeys(zip(header[labels:], row[labels:], strict=True))
        rest = ", ".join(f"{name} {cell}".strip() for name, cell in cells if cell)
    return f"{label}: {rest}" if label and rest else label or rest
