"""Splits Korean text into morphemes with Kiwi, caches the result for each line, and joins morphemes to text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple, Protocol, overload

CONTENT_TAGS = frozenset(["NNG", "NNP", "NNB", "NR", "SL", "SN", "SH", "VV", "VA", "XR", "MAG", "XPN", "XSN"])
"""Part-of-speech tags that carry meaning: nouns, numbers, foreign words, verb and adjective stems, roots, adverbs,
prefixes and suffixes."""
MAX_CACHED_LINES = 50_000
"""The cache is emptied when it holds this many lines. A line takes about 2 kB."""
MAX_LINE = 2_000
"""Longer lines are analyzed only up to this many characters. A line this long is a loop or an echo."""


class Morpheme(NamedTuple):
    """A morpheme, its part-of-speech tag without the suffix for irregular verbs, and its position in the line."""

    form: str
    tag: str
    start: int
    end: int


class _Token(Protocol):
    form: str
    tag: str
    start: int
    end: int


class Analyser(Protocol):
    """The part of kiwipiepy.Kiwi that this package uses."""

    @overload
    def tokenize(self, text: str) -> Sequence[_Token]: ...
    @overload
    def tokenize(self, text: list[str]) -> Iterable[Sequence[_Token]]: ...
    def join(self, morphs: Iterable[tuple[str, str]]) -> str: ...


@cache
def analyser() -> Analyser:
    """Load the morphological analyzer on first use, because loading takes 1 to 3 s."""
    from kiwipiepy import Kiwi

    loaded: Analyser = Kiwi()
    return loaded


_CACHED: dict[str, tuple[Morpheme, ...]] = {}


def tokenize(lines: list[str]) -> Iterable[Sequence[_Token]]:
    """Analyze the lines. Kiwi starts threads for a list, so a single line (such as a query) is passed as a string."""
    return [analyser().tokenize(lines[0])] if len(lines) == 1 else analyser().tokenize(lines)


def prepare(lines: Iterable[str]) -> None:
    """Analyze all lines that are not in the cache yet in one call, which uses all processors."""
    missing = list({line: None for line in lines if line not in _CACHED})
    if not missing:
        return
    if len(_CACHED) + len(missing) > MAX_CACHED_LINES:
        _CACHED.clear()
    for line, found in zip(missing, tokenize([line[:MAX_LINE] for line in missing]), strict=True):
        _CACHED[line] = tuple(Morpheme(t.form, t.tag.split("-")[0], t.start, t.end) for t in found)


def morphemes(line: str) -> tuple[Morpheme, ...]:
    """Return the morphemes of one line of text.

    >>> [(m.form, m.tag) for m in morphemes("지급합니다.")]
    [('지급', 'NNG'), ('하', 'XSV'), ('ᆸ니다', 'EF'), ('.', 'SF')]
    """
    found = _CACHED.get(line)
    if found is None:
        prepare([line])
        found = _CACHED[line]
    return found


def surface(pieces: Iterable[tuple[str, str]]) -> str:
    """Return the text of morphemes, given as pairs (form, tag), with the contractions and spaces of written Korean.

    >>> surface([("하", "XSV"), ("지", "EC"), ("않", "VX"), ("어요", "EF")])
    '하지 않아요'
    """
    return analyser().join(list(pieces))
