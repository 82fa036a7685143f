"""How the rows spread over types, companies and products; caps on the largest, and what a top-up would need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

Groups = Mapping[str, Sequence[Hashable]]


def over_the_caps(groups: Groups, caps: Mapping[Any, float], chance: Any) -> list[int]:
    """Rows to leave out so that no group holds more than its share; `chance` (one number a row) decides which.

    Leaving rows out shrinks the whole, so a group of cap c may keep c / (1 - c) times the rows of the others. A cap
    that the other groups cannot meet (two groups, cap .3) brings the groups to one size and no further.
    """
    out: set[int] = set()
    for name, cap in caps.items():
        members: dict[Hashable, list[int]] = {}
        for i, group in enumerate(groups[name]):
            if i not in out:
                members.setdefault(group, []).append(i)
        for group, allowed in _allowed({g: len(m) for g, m in members.items()}, cap).items():
            ranked = sorted(members[group], key=lambda i: (chance[i], i))
            out.update(ranked[allowed:])
    return sorted(out)


def _allowed(sizes: dict[Hashable, int], cap: float) -> dict[Hashable, int]:
    """Largest sizes that meet the cap: one limit for all the groups above it, found by trying."""
    low, high = min(sizes.values(), default=0), max(sizes.values(), default=0)
    while low < high:
        limit = (low + high + 1) // 2
        total = sum(min(size, limit) for size in sizes.values())
        low, high = (limit, high) if limit <= cap * total else (low, limit - 1)
    return {group: min(size, low) for group, size in sizes.items()}


def balance_report(groups: Groups) -> dict[str, Any]:
    """Per grouping: rows and share of each group, and how many rows would bring it up to the mean."""
    report: dict[str, Any] = {}
    for name, members in groups.items():
        counts = Counter(members)
        total, mean = sum(counts.values()), int(np.ceil(sum(counts.values()) / max(1, len(counts))))
        report[name] = {
            str(group): {"rows": n, "share": round(n / total, 4), "top_up": max(0, mean - n)}
            for group, n in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
        }
    return report
