"""The rules that compare rows: identical instructions and near duplicates. Which row stays depends on content alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.validation.check import KEPT, Table
from insurance_rag.validation.near_duplicates import near_duplicates
from insurance_rag.validation.shingles import shingles


def apply_set_rules(table: Table, config: ValidationConfig, product: Callable[[str], str]) -> None:
    """Each at its place among the rules: it sees the rows that no earlier rule dropped. `product` is of a chunk id."""
    for position, name in enumerate(config.rules):
        seen = np.flatnonzero(table.dropped_by > position)
        if name == "duplicate":
            found = _duplicates(table, seen)
        elif name == "near_duplicate":
            found = near_duplicates(table.bands[seen], table.sketches[seen], seen, table.row, product, config)
        else:
            continue
        for i, kept in found.items():
            table.dropped_by[i] = position
            table.spans[i] = table.row(kept).instruction


def _duplicates(table: Table, seen: Any) -> dict[int, int]:
    """Row -> the row of the same instruction that stays: one that passes the rules, whose answer fits the question."""
    _, group, sizes = np.unique(table.questions[seen], return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = defaultdict(list)
    for n in np.flatnonzero(sizes[group] > 1).tolist():
        groups[int(group[n])].append(int(seen[n]))
    best = {
        g: min(rows, key=lambda i: (table.dropped_by[i] != KEPT, -_relevance(table, i), i))
        for g, rows in groups.items()
    }
    return {i: best[g] for g, rows in groups.items() for i in rows if i != best[g]}


def _relevance(table: Table, i: int) -> float:
    """Share of the question's 3-grams in the answer: of two answers to one question the wrong one has fewer."""
    row = table.row(i)
    asked = shingles(row.instruction, 3)
    return len(asked & shingles(row.output, 3)) / len(asked)
