"""Chooses the answerable rows from which refusal rows are also made, by showing a context that lacks the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from insurance_rag.config import DatasetConfig

T = TypeVar("T")

CANDIDATES_PER_REFUSAL = 3
"""Number of contexts that are tried per refusal. The one whose overlap fits best is chosen."""


def refusals_per_type(answerable: Mapping[str, int], existing: int, share: float) -> dict[str, int]:
    """Return how many refusals to make from the rows of each type, so that a fraction `share` of all rows refuses.

    `answerable` maps types to their answerable rows, and `existing` is the number of rows that were generated as
    unanswerable. The refusals are divided in proportion to the types' rows: otherwise, the type would predict a
    refusal.
    """
    total = sum(answerable.values())
    wanted = round((share * (total + existing) - existing) / (1 - share))
    if wanted <= 0 or not total:
        return {}
    done, made, result = 0, 0, {}
    for kind, rows in answerable.items():  # rounding the running total makes the sum right
        done += rows
        result[kind] = round(wanted * done / total) - made
        made += result[kind]
    return result


def near_miss_rows(near_misses: int, contexts_per_row: int, answerable: int, config: DatasetConfig) -> int:
    """Return how many rows are made from the near misses: one each at least, `contexts_per_row` each at most.

    In between, they are a fraction `near_miss_share` of all rows, and never more than the refusals that are wanted.
    `answerable` is the number of rows that are not refusals.
    """
    share = min(config.near_miss_share, config.unanswerable_share)
    allowed = int(share * answerable / (1 - config.unanswerable_share))
    return min(near_misses * contexts_per_row, max(near_misses, allowed))


def spread(total: int, members: Sequence[int]) -> dict[int, int]:
    """Divide `total` between `members` as evenly as possible; the first ones get the remainder."""
    if not members:
        return {}
    each, remainder = divmod(total, len(members))
    return {member: each + (n < remainder) for n, member in enumerate(members)}


def match_overlap(
    targets: Sequence[float], rows: Sequence[int], make: Callable[[int], tuple[float, T] | None]
) -> dict[int, T]:
    """Choose one row for each target overlap. Return the chosen rows with their contexts.

    `rows` are the candidates in random order. `make` returns a row's refusal context with its overlap, or None if there
    is no context without the answer. For each target, up to CANDIDATES_PER_REFUSAL unused candidates are available,
    and the one with the nearest overlap is taken.
    """
    chosen: dict[int, T] = {}
    ready: list[tuple[float, int, T]] = []
    remaining = iter(rows)
    for target in targets:
        while len(ready) < CANDIDATES_PER_REFUSAL and (row := next(remaining, None)) is not None:
            if (made := make(row)) is not None:
                ready.append((made[0], row, made[1]))
        if not ready:
            break
        best = min(ready, key=lambda candidate: abs(candidate[0] - target))
        ready.remove(best)
        chosen[best[1]] = best[2]
    return chosen
