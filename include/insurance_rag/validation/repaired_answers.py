"""Finds the answers of the teacher that validation rejected, and that a repair replaced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from insurance_rag.validation.table import NOT_DROPPED, RowTable

ANSWER_FAULTS = frozenset(
    [
        "missed_refusal",
        "no_content",
        "cut_off",
        "evasive",
        "prompt_echo",
        "foreign_tail",
        "repetition",
        "not_korean",
        "open_ended",
        "preamble",
        "unsupported_article",
        "unsupported_number",
    ]
)
"""Rules that drop a row because its answer is worse than a good one. The answers that other rules drop can be right:
their evidence is missing, for example."""

Key = tuple[str, str, int]
"""Chunk id, question type, and hash of the question."""


def rejected_answers(table: RowTable, rules: Sequence[str]) -> Callable[[int], list[str]]:
    """Return a function that gives the rejected answers to the question of a kept row that is a repair.

    Only answers to the very same question about the same chunk count, because a repair may also change the question.
    The rule `duplicate` drops most of them first; generation then noted the fault in the row's `meta`.
    """
    kept = [i for i in table.repair_reasons if table.dropped_by[i] == NOT_DROPPED]
    keys = {i: _key(table, i) for i in kept}
    wanted = set(keys.values())
    rejected: defaultdict[Key, list[str]] = defaultdict(list)
    for i in np.flatnonzero(table.dropped_by != NOT_DROPPED).tolist() if wanted else ():
        if (key := _key(table, i)) in wanted:
            row, reason = table.row(i), rules[int(table.dropped_by[i])]
            if row.output and ANSWER_FAULTS & {reason, row.meta.get("fault")}:
                rejected[key].append(row.output)
    return lambda i: rejected.get(keys[i], []) if i in keys else []


def _key(table: RowTable, i: int) -> Key:
    return table.chunk_id(i), str(table.types[i]), int(table.question_hashes[i])
