"""Search terms for Korean text: content morphemes and character bigrams in one list.

Morphemes match different inflections, such as 지급합니다 and 지급하는. Bigrams match compounds that the analyzer splits
differently in the question and in the chunk. On three Korean datasets, lexical search was best with morphemes and
bigrams together.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Protocol, overload

VERSION = "kiwi-bigram-1"
"""Part of the key of a stored index. Change it when a code change alters the terms, so that indexes are rebuilt."""

CONTENT_TAGS = frozenset(["NNG", "NNP", "NNB", "NR", "SL", "SN", "SH", "VV", "VA", "XR", "MAG", "XPN", "XSN"])
"""Part-of-speech tags that carry meaning: nouns, numbers, foreign words, verb and adjective stems, roots, adverbs,
prefixes and suffixes."""

_WORD = re.compile(r"[가-힣A-Za-z0-9]+")

Encoded = tuple[list["array[int]"], dict[str, int]]
"""A list with the term ids of each text, and the vocabulary. The vocabulary maps terms to ids."""


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
    """Load the morphological analyzer on first use, because loading takes 3 s."""
    from kiwipiepy import Kiwi

    analyser: _Analyser = Kiwi()
    return analyser


def terms(texts: Sequence[str]) -> list[list[str]]:
    """Return a list of search terms for each text."""
    of_line = dict(_analysed(texts))
    return [[term for line in text.split("\n") for term in of_line.get(line, ())] for text in texts]


def encode(texts: Sequence[str]) -> Encoded:
    """Return the ids of each text's search terms, and the vocabulary. An id takes four bytes."""
    vocabulary: dict[str, int] = {}
    of_line = {
        line: array("i", (vocabulary.setdefault(term, len(vocabulary)) for term in found))
        for line, found in _analysed(texts)
    }
    ids = [array("i", (i for line in text.split("\n") for i in of_line.get(line, ()))) for text in texts]
    return ids, vocabulary


def _analysed(texts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield every distinct line with its terms. Lines recur across policies, but each is analyzed only once."""
    lines = list({line: None for text in texts for line in text.split("\n") if line.strip()})
    for line, tokens in zip(lines, _tokenize(lines), strict=True):
        content = [t.form for t in tokens if t.tag.split("-")[0] in CONTENT_TAGS]  # VV-I is an irregular VV (verb)
        yield line, content + _bigrams(line)


def _tokenize(lines: list[str]) -> Iterable[Sequence[_Token]]:
    """Analyze the lines. Kiwi starts threads for a list, so a single line (such as a query) is passed as a string."""
    return [_kiwi().tokenize(lines[0])] if len(lines) == 1 else _kiwi().tokenize(lines)


def _bigrams(line: str) -> list[str]:
    return [word[i : i + 2] for word in _WORD.findall(line) for i in range(max(1, len(word) - 1))]
