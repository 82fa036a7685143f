"""Measures and caps the fraction of rows that belong to each question type, company and product."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from insurance_rag.core.records import GroupBalance, ValidationReport

OVER_CAP = "balance"
"""Drop reason recorded for rows that pass every rule but exceed a cap."""
OVER_CAP_TITLE = "Above a cap"

Grouping = Mapping[str, Sequence[str]]
"""Maps the name of a grouping ("type", "company" or "product") to the group of each row."""


def rows_over_cap(groups: Grouping, caps: Mapping[str, float], draws: Sequence[float]) -> list[int]:
    """Return the rows to leave out so that no group exceeds its cap.

    `caps` maps a grouping to the maximum fraction of rows in one group. `draws` has one random number per row. Within a
    group, the rows with the smallest numbers are kept.

    Caps apply to the rows that remain, so leaving rows out also reduces the total. Some caps cannot be met, such as 0.3
    with only two groups. In this case, every group is cut to the size of the smallest one.
    """
    out: set[int] = set()
    for name, cap in caps.items():
        members: dict[str, list[int]] = {}
        for i, group in enumerate(groups[name]):
            if i not in out:
                members.setdefault(group, []).append(i)
        for group, allowed in _allowed_sizes({g: len(m) for g, m in members.items()}, cap).items():
            ranked = sorted(members[group], key=lambda i: (draws[i], i))
            out.update(ranked[allowed:])
    return sorted(out)


def _allowed_sizes(sizes: Mapping[str, int], cap: float) -> dict[str, int]:
    """Return the largest group sizes that meet the cap. Bisection finds one size limit for all groups."""
    low, high = min(sizes.values(), default=0), max(sizes.values(), default=0)
    while low < high:
        limit = (low + high + 1) // 2
        total = sum(min(size, limit) for size in sizes.values())
        low, high = (limit, high) if limit <= cap * total else (low, limit - 1)
    return {group: min(size, low) for group, size in sizes.items()}


def balance_report(groups: Grouping) -> dict[str, dict[str, GroupBalance]]:
    """Return the size of each group, its fraction of all rows, and how many rows it needs to reach the mean size."""
    return {name: _group_balances(Counter(members)) for name, members in groups.items()}


def _group_balances(counts: Counter[str]) -> dict[str, GroupBalance]:
    total = counts.total()
    mean = math.ceil(total / max(1, len(counts)))
    return {
        group: GroupBalance(rows=n, share=round(n / total, 4), top_up=max(0, mean - n))
        for group, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    }


def drop_title(report: ValidationReport, name: str) -> str:
    """Return the display title for a key of `report.drops`, which is a rule name or OVER_CAP."""
    if name == OVER_CAP:
        return OVER_CAP_TITLE
    return report.rules[name].title if name in report.rules else name
