"""Finds near duplicates: MinHash bands give candidates, the exact 3-grams confirm them, the later row is dropped.

The rows come in canonical order (by chunk, type and content), so the result does not depend on files or shards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from insurance_rag.config import ValidationConfig
from insurance_rag.korean import articles, quantities
from insurance_rag.validation.row import Row
from insurance_rag.validation.shingles import jaccard, shingles

LEADERS = 12
"""A row is compared only with the first rows of its bucket, so that a bucket of thousands stays linear."""
SLACK = 0.15
"""An estimate from 80 permutations rarely differs from the true similarity by more than this."""
COMPARED_AT_ONCE = 200_000
"""Pairs whose sketches are compared in one array operation; bounds the memory."""

Rows = NDArray[np.int64]


def near_duplicates(
    bands: NDArray[np.uint64],
    sketches: NDArray[np.uint8],
    rows: Rows,
    read_row: Callable[[int], Row],
    product: Callable[[str], str],
    config: ValidationConfig,
) -> dict[int, int]:
    """Return each row that repeats an earlier one, with that earlier row.

    `bands` and `sketches` have one line per entry of `rows`, the row numbers in canonical order. `product` maps a chunk
    id to the name of its product.
    """
    pairs = candidates(bands, sketches, config.near_duplicate - SLACK)
    content = lru_cache(maxsize=20_000)(lambda i: _Content(read_row(i)))
    dropped: dict[int, int] = {}
    for later, earlier in rows[pairs].tolist():
        if later in dropped or earlier in dropped:
            continue  # the row that `earlier` repeats is a candidate of its own if it is similar to `later`
        if _repeats(content(earlier), content(later), product, config):
            dropped[later] = earlier
    return dropped


def candidates(bands: NDArray[np.uint64], sketches: NDArray[np.uint8], min_similarity: float) -> Rows:
    """Return the sorted pairs (later, earlier) that share a band and have similar sketches, with shape (pairs, 2)."""
    n = len(bands)
    found = [np.empty(0, np.int64)]
    for band in range(bands.shape[1]):
        for later, earlier in _bucket_pairs(bands[:, band]):
            similarity = np.empty(len(later), dtype=np.float32)
            for start in range(0, len(later), COMPARED_AT_ONCE):
                piece = slice(start, start + COMPARED_AT_ONCE)
                similarity[piece] = (sketches[later[piece]] == sketches[earlier[piece]]).mean(axis=1)
            keep = similarity >= min_similarity
            found.append(later[keep] * n + earlier[keep])
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // n, codes % n], axis=1) if n else np.empty((0, 2), np.int64)


def _bucket_pairs(keys: NDArray[np.uint64]) -> Iterator[tuple[Rows, Rows]]:
    """Yield every row of each bucket with the first row of the bucket, then with the second, and so on."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(keys)])
    place = np.arange(len(keys)) - np.repeat(starts, sizes)  # position of each row in its bucket
    first = np.repeat(starts, sizes)
    for leader in range(min(LEADERS, int(sizes.max(initial=1)) - 1)):
        later = np.flatnonzero(place > leader)
        yield order[later], order[first[later] + leader]


class _Content:
    """What two rows are compared by."""

    def __init__(self, row: Row) -> None:
        text = f"{row.instruction}\n{row.output}"
        self.row = row
        self.question = shingles(row.instruction, 3)
        self.both = self.question | shingles(row.output, 3)
        self.numbers = {q.key for q in quantities(text)}
        self.cited = {level for a in articles(text) for level in a.levels}


def _repeats(a: _Content, b: _Content, product: Callable[[str], str], config: ValidationConfig) -> bool:
    return (
        a.row.answerable == b.row.answerable
        and jaccard(a.both, b.both) >= config.near_duplicate
        and jaccard(a.question, b.question) >= config.near_duplicate_question
        and a.numbers == b.numbers  # another amount, period or article is another fact
        and a.cited == b.cited
        and not _about_different_products(a.row, b.row, product)
    )


def _about_different_products(a: Row, b: Row, product: Callable[[str], str]) -> bool:
    """Return whether a question names its product: sister products share clauses, so both rows are needed then."""
    if a.chunk_id == b.chunk_id:
        return False
    words_a, words_b = (set(re.findall(r"\w+", product(row.chunk_id))) for row in (a, b))
    return any(w in a.instruction for w in words_a - words_b) or any(w in b.instruction for w in words_b - words_a)
