"""The distribution of the rows over types, companies and products: shares, caps, and how many rows are missing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from insurance_rag.core.records import GroupBalance, ValidationReport

OVER_CAP = "balance"
"""Reason of rows that pass every rule and are left out because of a cap."""
OVER_CAP_TITLE = "Above a cap"

Grouping = Mapping[str, Sequence[str]]
"""Name of a grouping ("type", "company", "product") -> group of each row."""


def rows_over_cap(groups: Grouping, caps: Mapping[str, float], draws: Sequence[float]) -> list[int]:
    """Return the rows to leave out so that no group exceeds its share. `draws` has one random number per row.

    Leaving rows out shrinks the total, so a group with cap c may keep c / (1 - c) times the rows of the other groups. A
    cap that the other groups cannot meet (two groups, cap 0.3) reduces the groups to one size and no further.
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
    """Return the largest sizes that meet the cap: one limit for all groups, found by bisection."""
    low, high = min(sizes.values(), default=0), max(sizes.values(), default=0)
    while low < high:
        limit = (low + high + 1) // 2
        total = sum(min(size, limit) for size in sizes.values())
        low, high = (limit, high) if limit <= cap * total else (low, limit - 1)
    return {group: min(size, low) for group, size in sizes.items()}


def balance_report(groups: Grouping) -> dict[str, dict[str, GroupBalance]]:
    """Return the rows and the share of each group of each grouping, largest first, and the rows missing to the mean."""
    return {name: _group_balances(Counter(members)) for name, members in groups.items()}


def _group_balances(counts: Counter[str]) -> dict[str, GroupBalance]:
    total = counts.total()
    mean = math.ceil(total / max(1, len(counts)))
    return {
        group: GroupBalance(rows=n, share=round(n / total, 4), top_up=max(0, mean - n))
        for group, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    }


def drop_title(report: ValidationReport, name: str) -> str:
    """Return the title of a key of `report.drops`: that of the rule, or of the cap."""
    if name == OVER_CAP:
        return OVER_CAP_TITLE
    return report.rules[name].title if name in report.rules else name
