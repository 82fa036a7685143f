"""Choose the headings of articles among lines that begin like one, by the order of their numbers.

A policy numbers its articles from 1 in every part. References and quoted laws do not continue that order, so the chain
of candidates with the best total score contains the headings. The score of a chain is the sum of the scores of its
candidates and of the steps between them (a longest path in a directed acyclic graph).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from insurance_rag.ingest.headings import ArticleHeading, ArticleNumber

WINDOW = 400
"""Number of earlier candidates that may precede a candidate in the chain. More than this many false candidates in a row
occur only in appendices with quoted laws."""
NEAR = 12
"""Maximum number of paragraphs between the name of a part and its first article."""
BEST_STEP = 1.0
"""Highest score of a step from one heading to the next."""
MIN_SCORE = -2.0
"""Candidates below this score are references, whatever their number is."""


def choose_headings(
    candidates: Sequence[ArticleHeading], parts: Sequence[int], titles: Sequence[int]
) -> list[ArticleHeading]:
    """Return the candidates that are headings.

    `parts` are the indexes of paragraphs that may be the name of a part, after which numbers start again. `titles` are
    those of other headings.
    """
    usable = [candidate for candidate in candidates if candidate.score > MIN_SCORE]
    best: list[float] = []
    before: list[int | None] = []
    for j, candidate in enumerate(usable):
        score, previous = _start_score(candidate), None
        for i in reversed(range(max(0, j - WINDOW), j)):
            if best[i] + BEST_STEP <= score:
                continue
            total = best[i] + _step_score(usable[i], candidate, parts, titles)
            if total > score:
                score, previous = total, i
        best.append(score + candidate.score)
        before.append(previous)
    if not best or max(best) <= 0:
        return []
    at: int | None = max(range(len(best)), key=best.__getitem__)
    chain: list[ArticleHeading] = []
    while at is not None:
        chain.append(usable[at])
        at = before[at]
    return chain[::-1]


def follows(number: ArticleNumber, previous: ArticleNumber) -> bool:
    """Return whether an article with this number comes directly after the previous one."""
    (n, m), (n0, m0) = number, previous
    return (n == n0 + 1 and m == 0) or (n == n0 and m == (m0 + 1 if m0 else 2))


def _start_score(candidate: ArticleHeading) -> float:
    n, m = candidate.number
    return 0.0 if (n, m) == (1, 0) else -(1 + 0.5 * min(n, 10))


def _step_score(a: ArticleHeading, b: ArticleHeading, parts: Sequence[int], titles: Sequence[int]) -> float:
    """Return the score of the step from heading `a` to heading `b`."""
    part = _between(parts, max(a.index, b.index - NEAR - 1), b.index)
    if b.number == (1, 0):
        if part:
            return BEST_STEP
        return -1.5 if _between(titles, max(a.index, b.index - NEAR - 1), b.index) else -2.5
    if part and not follows(b.number, a.number):
        return -5.0
    if follows(b.number, a.number):
        return BEST_STEP
    if b.number == a.number:
        return -8.0 if _same_title(a, b) else -2.0
    if b.number < a.number:
        return -10.0
    gap = b.number[0] - a.number[0] - (b.number[1] == 0)
    return -10.0 if gap > 30 else -(1.5 + 0.7 * min(gap, 10))


def _between(indexes: Sequence[int], low: int, high: int) -> bool:
    """Return whether one of the sorted indexes is between `low` and `high`, both excluded."""
    at = bisect_left(indexes, low + 1)
    return at < len(indexes) and indexes[at] < high


def _same_title(a: ArticleHeading, b: ArticleHeading) -> bool:
    return "".join(a.title.split()) == "".join(b.title.split())
