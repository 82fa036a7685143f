"""Search terms of Korean text: content morphemes and character bigrams in one list.

Morphemes match 지급합니다 and 지급하는. Bigrams match compounds that the analyser splits differently in question and
chunk. Measured on three Korean data sets, both together are the best lexical terms.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Protocol, overload

VERSION = "kiwi-bigram-1"
"""Part of the key of a stored index: raise it when the terms of a text change."""

CONTENT_TAGS = frozenset(["NNG", "NNP", "NNB", "NR", "SL", "SN", "SH", "VV", "VA", "XR", "MAG", "XPN", "XSN"])
"""Part-of-speech tags that carry meaning: nouns, numbers, foreign words, stems of verbs and adjectives, roots, adverbs,
prefixes and suffixes."""

_WORD = re.compile(r"[가-힣A-Za-z0-9]+")

Encoded = tuple[list["array[int]"], dict[str, int]]
"""The terms of each text as numbers of a vocabulary, and the vocabulary."""


class _Token(Protocol):
    form: str
    tag: str


class _Analyser(Protocol):
    @overload
    def tokenize(self, text: str) -> Sequence[_Token]: ...
    @overload
    def tokenize(self, text: list[str]) -> Iterable[Sequence[_Token]]: ...


@cache
def _kiwi() -> _Analyser:
    """Load the morphological analyser: 3 s, once per process, and only when something is searched."""
    from kiwipiepy import Kiwi

    analyser: _Analyser = Kiwi()
    return analyser


def terms(texts: Sequence[str]) -> list[list[str]]:
    """Return the search terms of each text."""
    of_line = dict(_analysed(texts))
    return [[term for line in text.split("\n") for term in of_line.get(line, ())] for text in texts]


def encode(texts: Sequence[str]) -> Encoded:
    """Return the search terms of each text as numbers, which takes four bytes per term."""
    vocabulary: dict[str, int] = {}
    of_line = {
        line: array("i", (vocabulary.setdefault(term, len(vocabulary)) for term in found))
        for line, found in _analysed(texts)
    }
    ids = [array("i", (i for line in text.split("\n") for i in of_line.get(line, ()))) for text in texts]
    return ids, vocabulary


def _analysed(texts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield every distinct line with its terms. Policies repeat their lines, so each is analysed only once."""
    lines = list({line: None for text in texts for line in text.split("\n") if line.strip()})
    for line, tokens in zip(lines, _tokenize(lines), strict=True):
        content = [t.form for t in tokens if t.tag.split("-")[0] in CONTENT_TAGS]  # VV-I marks an irregular verb, VV
        yield line, content + _bigrams(line)


def _tokenize(lines: list[str]) -> Iterable[Sequence[_Token]]:
    """Analyse the lines. A single line, such as a query, is passed as a string: that starts no threads."""
    return [_kiwi().tokenize(lines[0])] if len(lines) == 1 else _kiwi().tokenize(lines)


def _bigrams(line: str) -> list[str]:
    return [word[i : i + 2] for word in _WORD.findall(line) for i in range(max(1, len(word) - 1))]
