"""Make chunk ids from the place of a section in its document: document / part / article / piece.

An id never contains a running number over the document, so inserting an article changes no other id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

MAX_SLUG = 60
"""Maximum length of one part of an id, in characters."""

_UNSAFE = re.compile(r"[^\w\-.]+")
_EDGE = re.compile(r"^[\-._]+|[\-._]+$")

K = TypeVar("K", bound=Hashable)


def slug(text: str) -> str:
    """Return the text as one part of an id: letters, digits, `_`, `-` and `.`, never only dots, never empty.

    >>> slug("보험금의 지급/면책 사유 (갱신형)")
    '보험금의-지급-면책-사유-갱신형'
    """
    joined = _UNSAFE.sub("-", unicodedata.normalize("NFC", text))
    joined = re.sub(r"-{2,}", "-", _EDGE.sub("", joined))
    return _EDGE.sub("", joined[:MAX_SLUG]) or "x"


def unique_slugs(names: Sequence[tuple[str, str]]) -> list[str]:
    """Return one slug per pair (name, title), all different.

    Only names that occur several times get their title as well. If the titles are equal too, a number is appended to
    all but the first one.
    """
    counts = _counts([slug(name) for name, _ in names])
    slugs = [
        slug(name) if counts[slug(name)] == 1 or not title else slug(f"{name}-{title}"[:MAX_SLUG])
        for name, title in names
    ]
    seen: dict[str, int] = {}
    for i, each in enumerate(slugs):
        seen[each] = seen.get(each, 0) + 1
        if seen[each] > 1:
            slugs[i] = _numbered(each, seen, set(slugs))
    return slugs


def _numbered(each: str, seen: Mapping[str, int], taken: set[str]) -> str:
    n = seen[each]
    while f"{each}-{n}" in taken:
        n += 1
    return f"{each}-{n}"


def _counts(values: Sequence[K]) -> dict[K, int]:
    counts: dict[K, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts
