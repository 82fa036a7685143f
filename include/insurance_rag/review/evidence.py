"""Finds a quote in a chunk, so that a page can mark it."""

from __future__ import annotations

import re


def find_quote(text: str, quote: str) -> tuple[int, int] | None:
    """Return the start and end of `quote` in `text`; None if it does not occur. Whitespace may differ.

    >>> find_quote("보험금을\\n지급합니다.", "보험금을 지급")
    (0, 7)
    """
    characters = "".join(quote.split())
    if not characters:
        return None
    found = re.search(r"\s*".join(map(re.escape, characters)), text)
    return found.span() if found else None


def split_at_quotes(text: str, quotes: list[str]) -> list[tuple[str, bool]]:
    """Return the text in pieces, each with whether it belongs to a quote. The pieces together are the text."""
    marked = [False] * (len(text) + 1)
    for quote in quotes:
        if span := find_quote(text, quote):
            marked[span[0] : span[1]] = [True] * (span[1] - span[0])
    pieces: list[tuple[str, bool]] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or marked[end] != marked[start]:
            pieces.append((text[start:end], marked[start]))
            start = end
    return pieces
