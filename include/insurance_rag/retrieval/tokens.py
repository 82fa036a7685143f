"""Search terms for Korean text: content morphemes and character bigrams in one list.

Morphemes match different inflections, such as 지급합니다 and 지급하는. Bigrams match compounds that the analyzer splits
differently in the question and in the chunk. On three Korean datasets, lexical search was best with morphemes and
bigrams together.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence

from insurance_rag.korean.morphemes import CONTENT_TAGS, tokenize

VERSION = "kiwi-bigram-1"
"""Part of the key of a stored index. Change it when a code change alters the terms, so that indexes are rebuilt."""

_WORD = re.compile(r"[가-힣A-Za-z0-9]+")

Encoded = tuple[list["array[int]"], dict[str, int]]
"""A list with the term ids of each text, and the vocabulary. The vocabulary maps terms to ids."""


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
    for line, tokens in zip(lines, tokenize(lines), strict=True):
        content = [t.form for t in tokens if t.tag.split("-")[0] in CONTENT_TAGS]  # VV-I is an irregular VV (verb)
        yield line, content + _bigrams(line)


def _bigrams(line: str) -> list[str]:
    return [word[i : i + 2] for word in _WORD.findall(line) for i in range(max(1, len(word) - 1))]
