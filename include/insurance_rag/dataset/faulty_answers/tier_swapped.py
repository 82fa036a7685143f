"""The fault `tier_swapped`: the value of another row or column of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from insurance_rag.dataset.faulty_answers.numbers import can_replace, changeable_numbers, replaced_everywhere
from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer, fault
from insurance_rag.korean import quantities
from insurance_rag.korean.particles import leading_particle, refit_particle
from insurance_rag.korean.statements import analyze

Table = list[tuple[str, ...]]
MIN_CELL = 2
"""Minimum length of a cell without a number that is replaced."""


@fault("tier_swapped", title="States the value of another row or column of a table")
def tier_swapped(source: RightAnswer) -> Iterator[Sequence[Change]]:
    """Replace a value of a table by the value of another row in its column, or of another column in its row."""
    for table in _tables(source.gold_text):
        for n, row in enumerate(table):
            for column, cell in enumerate(row):
                if column == 0:
                    continue
                others = [line[column] for m, line in enumerate(table) if m != n and column < len(line)]
                others += [other for k, other in enumerate(row) if k not in (0, column)]
                yield from _swapped_numbers(source, cell, others)
                yield from _swapped_cells(source, cell, others)


def _tables(text: str) -> Iterator[Table]:
    """Yield the rows of each table, without the column headings."""
    header: tuple[str, ...] = ()
    rows: Table = []
    for statement in analyze(text):
        if statement.header != header:
            yield rows
            header, rows = statement.header, []
        if statement.cells:
            rows.append(statement.cells)
    yield rows


def _swapped_numbers(source: RightAnswer, cell: str, others: Sequence[str]) -> Iterator[Sequence[Change]]:
    own = {q.key for q in quantities(cell)}
    known = source.given | own | {q.key for q in source.stated}
    values = list(chain.from_iterable(quantities(other) for other in others))
    for old in changeable_numbers(source):
        if old.key in own:
            for new in {q.key: q for q in values if q.unit == old.unit and q.key not in known}.values():
                if can_replace(old, new):
                    yield replaced_everywhere(source, old, new.text)


def _swapped_cells(source: RightAnswer, cell: str, others: Sequence[str]) -> Iterator[Sequence[Change]]:
    """Replace a cell without numbers, such as 계약자 or 지급하지 않음, that the answer contains only once."""
    if len(cell) < MIN_CELL or quantities(cell) or source.answer.count(cell) != 1 or cell in source.question:
        return
    start = source.answer.index(cell)
    for other in others:
        if len(other) >= MIN_CELL and not quantities(other) and other not in source.answer and other != cell:
            particle = leading_particle(source.answer[start + len(cell) :])
            end = start + len(cell) + len(particle)
            yield [Change(start, end, other + refit_particle(other, particle))]
