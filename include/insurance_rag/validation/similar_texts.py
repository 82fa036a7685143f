"""Finds texts that are similar to other texts, without comparing every pair. No similar pair is missed."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from insurance_rag.validation.shingles import hashed_shingles, jaccard, normalize, shingles

TEXTS_AT_ONCE = 5000
"""Maximum number of texts that are hashed in one array operation. This limits memory use."""


class SimilarTexts:
    """Finds those of a list of texts whose Jaccard similarity to a given text is at least `min_similarity`.

    Uses prefix filtering (Chaudhuri, Ganti and Kaushik 2006): if the n-grams of two similar texts are sorted in the
    same order, the first few n-grams of one text and of the other have an n-gram in common. Rare n-grams come first, so
    few texts remain to be compared.
    """

    def __init__(self, texts: Sequence[str], n: int, min_similarity: float) -> None:
        self._n, self._min_similarity = n, min_similarity
        self._sets = [shingles(text, n) for text in texts]
        self._counts = Counter(ngram for own in self._sets for ngram in own)
        self._with_ngram: dict[str, list[int]] = defaultdict(list)
        for i, own in enumerate(self._sets):
            for ngram in self._prefix(own):
                self._with_ngram[ngram].append(i)

    def find(self, text: str) -> list[int]:
        """Return the positions of the similar texts, in ascending order."""
        own = shingles(text, self._n)
        candidates = {i for ngram in self._prefix(own) for i in self._with_ngram.get(ngram, ())}
        return [i for i in sorted(candidates) if jaccard(own, self._sets[i]) >= self._min_similarity]

    def _prefix(self, own: set[str]) -> list[str]:
        by_rarity = sorted(own, key=lambda ngram: (self._counts[ngram], ngram))
        return by_rarity[: len(own) - ceil(self._min_similarity * len(own) - 1e-9) + 1]


def similar_pairs(
    texts: Sequence[str], others: Sequence[str], n: int, min_similarity: float
) -> list[tuple[int, list[int]]]:
    """Return (position in `texts`, positions in `others`) for every text that is similar to some of the others."""
    left = _covered(texts, others, n, min_similarity)
    right = _covered(others, [texts[i] for i in left], n, min_similarity)
    # Standard articles recur word for word, so equal texts are compared only once.
    equal: dict[str, list[int]] = defaultdict(list)
    for i in right:
        equal[normalize(others[i])].append(i)
    index, groups = SimilarTexts(list(equal), n, min_similarity), list(equal.values())
    found: dict[str, list[int]] = {}
    pairs = []
    for i in left:
        text = normalize(texts[i])
        if text not in found:
            found[text] = sorted(j for group in index.find(text) for j in groups[group])
        if found[text]:
            pairs.append((i, found[text]))
    return pairs


def _covered(texts: Sequence[str], others: Sequence[str], n: int, min_share: float) -> list[int]:
    """Return the positions of the texts of which at least `min_share` of the n-grams occur in the other texts.

    The similarity of two texts is at most this share. It is small for most texts, so they need no comparison.
    """
    known = np.unique(np.concatenate([np.empty(0, np.uint64), *(own for own, _ in _distinct_ngrams(others, n))]))
    if not len(known):
        return []
    covered: list[int] = []
    start = 0
    for ngrams, counts in _distinct_ngrams(texts, n):
        is_known = known[np.searchsorted(known, ngrams).clip(max=len(known) - 1)] == ngrams
        shared = np.add.reduceat(is_known.astype(np.int64), np.cumsum([0, *counts[:-1]]))
        covered += (start + np.flatnonzero(shared >= min_share * np.array(counts) - 1e-9)).tolist()
        start += len(counts)
    return covered


def _distinct_ngrams(texts: Sequence[str], n: int) -> Iterator[tuple[NDArray[np.uint64], list[int]]]:
    """Yield an array with the hashes of the distinct n-grams, text by text, and their number per text."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        flat, offsets = hashed_shingles(texts[start : start + TEXTS_AT_ONCE], n)
        own = [np.unique(flat[first:last]) for first, last in itertools.pairwise(offsets)]
        yield np.concatenate(own), [len(ngrams) for ngrams in own]
