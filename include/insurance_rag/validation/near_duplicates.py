"""Finds near duplicates: MinHash bands propose pairs, the exact 3-grams confirm them, and the later row is dropped.

Rows are in canonical order (by chunk, type and content), so the result does not depend on part files or shards.
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
"""Each row in a bucket is compared with only this many rows, the first ones in the bucket. Comparing all pairs would
take quadratic time."""
SLACK = 0.15
"""The exact similarity of a pair is computed if the estimate is at least the limit minus this margin. An estimate from
80 permutations is rarely off by more than this."""
COMPARED_AT_ONCE = 200_000
"""Maximum number of pairs whose sketches are compared in one array operation. This limits memory use."""

Rows = NDArray[np.int64]


def near_duplicates(
    bands: NDArray[np.uint64],
    sketches: NDArray[np.uint8],
    rows: Rows,
    read_row: Callable[[int], Row],
    product: Callable[[str], str],
    config: ValidationConfig,
) -> dict[int, int]:
    """Return the rows that repeat an earlier row, each mapped to that earlier row.

    `rows` contains row numbers in canonical order. `bands` and `sketches` have one entry for each of these rows, in
    the same order. `product` maps a chunk id to the name of the chunk's product.
    """
    pairs = candidates(bands, sketches, config.near_duplicate - SLACK)
    content = lru_cache(maxsize=20_000)(lambda i: _Content(read_row(i)))
    dropped: dict[int, int] = {}
    for later, earlier in rows[pairs].tolist():
        if later in dropped or earlier in dropped:
            continue  # if `earlier` was dropped, `later` may still be compared with the row that `earlier` repeats
        if _repeats(content(earlier), content(later), product, config):
            dropped[later] = earlier
    return dropped


def candidates(bands: NDArray[np.uint64], sketches: NDArray[np.uint8], min_similarity: float) -> Rows:
    """Return the pairs (later, earlier) of rows that share a band and have similar sketches.

    The result is a sorted array of positions in `bands`, with shape (pairs, 2).
    """
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
    """Yield two arrays (later, earlier) at a time. Their n-th entries are two rows from the same bucket.

    A bucket contains the rows with equal keys. In the first two arrays, `earlier` contains the first row in each
    bucket; in the next two, the second row; and so on up to LEADERS rows.
    """
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
    """The parts of a row that are compared with those of other rows."""

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
        and a.numbers == b.numbers  # a different amount, period or article is a different fact
        and a.cited == b.cited
        and not _about_different_products(a.row, b.row, product)
    )


def _about_different_products(a: Row, b: Row, product: Callable[[str], str]) -> bool:
    """Return whether a question contains a word that occurs only in its own product's name, not in the other's.

    Similar products share clauses. If the questions name different products, both rows are needed.
    """
    if a.chunk_id == b.chunk_id:
        return False
    words_a, words_b = (set(re.findall(r"\w+", product(row.chunk_id))) for row in (a, b))
    return any(w in a.instruction for w in words_a - words_b) or any(w in b.instruction for w in words_b - words_a)
