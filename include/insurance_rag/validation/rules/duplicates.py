"""Rules that compare rows: identical questions and near duplicates. Which row is kept depends only on row content."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from insurance_rag.validation.near_duplicates import near_duplicates
from insurance_rag.validation.rules.registry import CrossRowContext, cross_row_rule
from insurance_rag.validation.shingles import shingles
from insurance_rag.validation.table import NOT_DROPPED, RowTable


@cross_row_rule("duplicate", title="Duplicate question", title_ko="중복 질문")
def duplicate(table: RowTable, rows: NDArray[np.int64], context: CrossRowContext) -> dict[int, str]:
    """The row has the same question as another row, which is kept.

    Rows that pass the row rules are preferred. Among them, the row with the most relevant answer is kept.
    """
    _, group, sizes = np.unique(table.question_hashes[rows], return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = defaultdict(list)
    for n in np.flatnonzero(sizes[group] > 1).tolist():
        groups[int(group[n])].append(int(rows[n]))
    dropped: dict[int, str] = {}
    for members in groups.values():
        kept = min(members, key=lambda i: (table.dropped_by[i] != NOT_DROPPED, -_relevance(table, i), i))
        dropped |= {i: table.row(kept).instruction for i in members if i != kept}
    return dropped


def _relevance(table: RowTable, i: int) -> float:
    """Return the fraction of the question's 3-grams that occur in the answer. Wrong answers tend to have fewer."""
    row = table.row(i)
    question = shingles(row.instruction, 3)
    return len(question & shingles(row.output, 3)) / len(question)


@cross_row_rule("near_duplicate", title="Near duplicate", title_ko="거의 같은 행", needs_signatures=True)
def near_duplicate(table: RowTable, rows: NDArray[np.int64], context: CrossRowContext) -> dict[int, str]:
    """The row is nearly identical to another row, which is kept."""
    bands, sketches = table.signatures
    found = near_duplicates(bands[rows], sketches[rows], rows, table.row, context.product, context.config)
    return {i: table.row(kept).instruction for i, kept in found.items()}
