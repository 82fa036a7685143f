"""Repeats the header of a table that continues on the next page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from insurance_rag.ingest.document import Line, Table
from insurance_rag.ingest.readers.pdf_layout.geometry import Box

SAME_EDGE = 3.0
"""Two tables are one if their left and right edges differ by at most this, in points."""
MAX_LABEL = 20
"""Longer cells are no column labels."""

_FIGURE = re.compile(r"\d")


def repeat_headers(blocks: Sequence[Line | Table], boxes: dict[Table, Box]) -> list[Line | Table]:
    """Return the blocks. A table that continues one at the end of the page before begins with its column labels.

    `boxes` has the area of each table on its page.
    """
    found: list[Line | Table] = []
    for block in blocks:
        last = found[-1] if found else None
        if isinstance(block, Table) and isinstance(last, Table) and _continues(last, block, boxes):
            boxes[repeated := Table((last.rows[0], *block.rows), block.page, block.left, block.top)] = boxes[block]
            found.append(repeated)
        else:
            found.append(block)
    return found


def _continues(table: Table, following: Table, boxes: dict[Table, Box]) -> bool:
    a, b = boxes[table], boxes[following]
    same_place = abs(a.x0 - b.x0) <= SAME_EDGE and abs(a.x1 - b.x1) <= SAME_EDGE
    same_columns = len(table.rows[0]) == len(following.rows[0])
    if not (following.page == table.page + 1 and same_place and same_columns and len(table.rows) > 1):
        return False
    header = table.rows[0]
    labels = all(len(cell) <= MAX_LABEL and not _FIGURE.search(cell) for cell in header) and len(set(header)) > 1
    return labels and following.rows[0] != header
