"""Rows that say the same: found by MinHash bands, confirmed by their exact 3-grams, the later one dropped.

The rows come in canonical order (by clause, type and content), so the result does not depend on files or shards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.korean import articles, quantities
from insurance_rag.validation.rows import Row
from insurance_rag.validation.shingles import Bytes, Hashes, jaccard, shingles

LEADERS = 12
"""Rows of one bucket are compared with its first ones only, so that a bucket of thousands stays linear."""
SLACK = 0.15
"""An estimate from 80 permutations is rarely further than this from the true similarity."""

Pairs = np.ndarray[Any, np.dtype[np.int64]]


def near_duplicates(
    bands: Hashes,
    sketches: Bytes,
    numbers: Any,
    row: Callable[[int], Row],
    product: Callable[[str], str],
    config: ValidationConfig,
) -> dict[int, int]:
    """Row -> the earlier row it repeats. `numbers` are the rows', in canonical order; `product` is of a chunk id."""
    pairs = candidates(bands, sketches, config.near_duplicate - SLACK)
    facts = lru_cache(maxsize=20_000)(lambda i: _Facts(row(i)))
    dropped: dict[int, int] = {}
    for later, earlier in numbers[pairs].tolist():
        if later in dropped or earlier in dropped:
            continue  # the row that stands for `earlier` is compared too where it is alike
        if _repeats(facts(earlier), facts(later), product, config):
            dropped[later] = earlier
    return dropped


def candidates(bands: Hashes, sketches: Bytes, least: float) -> Pairs:
    """Pairs (later, earlier) that share a band and are alike by their sketches, in order."""
    n = len(bands)
    found = [np.empty(0, np.int64)]
    for band in range(bands.shape[1]):
        for later, earlier in _bucket_pairs(bands[:, band]):
            alike = np.empty(len(later), dtype=np.float32)
            for at in range(0, len(later), 200_000):
                piece = slice(at, at + 200_000)
                alike[piece] = (sketches[later[piece]] == sketches[earlier[piece]]).mean(axis=1)
            keep = alike >= least
            found.append(later[keep] * n + earlier[keep])
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // n, codes % n], axis=1) if n else np.empty((0, 2), np.int64)


def _bucket_pairs(keys: Any) -> Iterator[tuple[Pairs, Pairs]]:
    """Each row of a bucket with the bucket's first, second, ... row."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(keys)])
    place = np.arange(len(keys)) - np.repeat(starts, sizes)  # of each row in its bucket
    first = np.repeat(starts, sizes)
    for leader in range(min(LEADERS, int(sizes.max(initial=1)) - 1)):
        later = np.flatnonzero(place > leader)
        yield order[later], order[first[later] + leader]


class _Facts:
    """What two rows are compared by."""

    def __init__(self, row: Row) -> None:
        text = f"{row.instruction}\n{row.output}"
        self.row = row
        self.question = shingles(row.instruction, 3)
        self.both = self.question | shingles(row.output, 3)
        self.numbers = {q.key for q in quantities(text)}
        self.cited = {level for a in articles(text) for level in a.levels}


def _repeats(a: _Facts, b: _Facts, product: Callable[[str], str], config: ValidationConfig) -> bool:
    return (
        a.row.answerable == b.row.answerable
        and jaccard(a.both, b.both) >= config.near_duplicate
        and jaccard(a.question, b.question) >= config.near_duplicate_question
        and a.numbers == b.numbers  # another amount, period or article is another fact
        and a.cited == b.cited
        and not _about_different_products(a.row, b.row, product)
    )


def _about_different_products(a: Row, b: Row, product: Callable[[str], str]) -> bool:
    """Sister products share clauses: the same question about another product, named in it, is another question."""
    if a.chunk_id == b.chunk_id:
        return False
    words_a, words_b = (set(re.findall(r"\w+", product(row.chunk_id))) for row in (a, b))
    return any(w in a.instruction for w in words_a - words_b) or any(w in b.instruction for w in words_b - words_a)
