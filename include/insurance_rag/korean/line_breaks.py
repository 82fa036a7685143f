"""Decides with Korean morphology whether a line break is inside a word or between two words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol, cast

from insurance_rag.korean.morphemes import analyser

CONTEXT = 30
"""Characters on each side of a line break that are analyzed."""


class _Gluer(Protocol):
    """The part of kiwipiepy.Kiwi that this module uses."""

    def glue(self, text_chunks: Iterable[str], *, return_space_insertions: bool) -> tuple[str, list[bool]]: ...


def words_meet(before: Sequence[str], after: Sequence[str]) -> list[bool]:
    """Return for each line break whether two words meet there, so that a space is missing.

    `before` and `after` are the lines before and after the breaks.

    >>> words_meet(["보험회사가 보험금을 지", "보험회사가 보험금을"], ["급합니다.", "지급합니다."])
    [False, True]
    """
    return [_meet(a[-CONTEXT:], b[:CONTEXT]) for a, b in zip(before, after, strict=True)]


@lru_cache(maxsize=50_000)
def _meet(before: str, after: str) -> bool:
    _, spaces = cast("_Gluer", analyser()).glue([before, after], return_space_insertions=True)
    return spaces[0]
