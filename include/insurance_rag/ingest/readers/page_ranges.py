"""Names pages in messages."""

from __future__ import annotations

from collections.abc import Sequence


def page_ranges(numbers: Sequence[int]) -> str:
    """Return page numbers in words, with ranges.

    >>> page_ranges([3, 4, 5, 9]), page_ranges([7])
    ('pages 3-5 and 9', 'page 7')
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    named = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    return f"page {listed}" if len(numbers) == 1 else f"pages {listed}"
