"""Turns the lines and tables of all pages into the blocks of a document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from insurance_rag.ingest.document import Line, Removed, Table
from insurance_rag.ingest.readers.pdf_layout.contents import find_contents
from insurance_rag.ingest.readers.pdf_layout.continued_tables import repeat_headers
from insurance_rag.ingest.readers.pdf_layout.lines import Block, TableBlock, TextLine
from insurance_rag.ingest.readers.pdf_layout.paragraphs import cell_joins, find_joins
from insurance_rag.ingest.readers.pdf_layout.spacing import Spacing, learn_spacing
from insurance_rag.ingest.readers.pdf_layout.symbols import repair_numbers
from insurance_rag.korean import clean

#: A character of a symbol font at the start of a line.
_PRIVATE_BULLET = re.compile("^[\ue000-\uf8ff]\\s*")
Pair = tuple[TextLine, TextLine]


def assemble(blocks: Sequence[Block]) -> tuple[list[Line | Table], list[Removed]]:
    """Return the blocks of a document, and the tables of contents that were removed."""
    blocks = repair_numbers(blocks)
    contents = find_contents(blocks)
    removed = [Removed(_text(blocks[i]), blocks[i].page, "contents") for i in sorted(contents)]
    joins = find_joins([block for i, block in enumerate(blocks) if i not in contents])
    pairs = [(a, b) for a, b in pairwise(joins.blocks) if isinstance(a, TextLine) and isinstance(b, TextLine)]
    pairs = [(a, b) for a, b in pairs if a in joins.joined]
    cell_pairs = _cell_pairs(joins.blocks)
    lines = [b for b in joins.blocks if isinstance(b, TextLine)]
    spacing = learn_spacing(lines, pairs)
    spaces = _spaces(spacing, [*pairs, *cell_pairs])
    found = [_block(block, joins.joined, spaces) for block in joins.blocks]
    boxes = {table: block.box for block, table in zip(joins.blocks, found, strict=True) if isinstance(table, Table)}
    return repeat_headers([block for block in found if isinstance(block, Table) or block.text], boxes), removed


def _text(block: Block) -> str:
    if isinstance(block, TextLine):
        return block.text
    return "\n".join(" ".join(line.text for line in lines) for _, lines in block.cells if lines)


def _cell_pairs(blocks: Sequence[Block]) -> list[Pair]:
    """Return the lines in cells that continue each other."""
    return [
        pair
        for block in blocks
        if isinstance(block, TableBlock)
        for _, lines in block.cells
        for pair, joined in zip(pairwise(lines), cell_joins(lines), strict=True)
        if joined
    ]


def _spaces(spacing: Spacing, pairs: Sequence[Pair]) -> dict[TextLine, str]:
    """Return what is between each line and the line that continues it."""
    return {a: " " if space else "" for (a, _), space in zip(pairs, spacing.between(pairs), strict=True)}


def _block(block: Block, joined: set[TextLine], spaces: dict[TextLine, str]) -> Line | Table:
    if isinstance(block, TableBlock):
        return _table(block, spaces)
    continues = block in joined
    text = _PRIVATE_BULLET.sub("• ", clean(block.text).strip()) + (spaces[block] if continues else "")
    return Line(
        text, block.page, round(block.box.x0, 1), round(block.box.top, 1), round(block.size, 1), joins_next=continues
    )


def _table(block: TableBlock, spaces: dict[TextLine, str]) -> Table:
    rows = [[""] * block.n_columns for _ in range(block.n_rows)]
    for cell, lines in block.cells:
        text = _cell_text(lines, spaces)
        for row in range(cell.row, cell.row_end):
            for column in range(cell.column, cell.column_end):
                rows[row][column] = text
    filled = tuple(tuple(row) for row in _without_copies(rows) if any(row))
    return Table(filled, block.page, round(block.box.x0, 1), round(block.box.top, 1))


def _cell_text(lines: Sequence[TextLine], spaces: dict[TextLine, str]) -> str:
    if len(lines) > 1 and all(len(line.text) == 1 for line in lines):
        return clean("".join(line.text for line in lines))  # written from top to bottom
    return clean("".join(line.text + spaces.get(line, " ") for line in lines)).strip()


def _without_copies(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield the rows without those that only repeat merged cells of the row above."""
    previous: Sequence[str] | None = None
    for row in rows:
        if row != previous:
            yield row
        previous = row
