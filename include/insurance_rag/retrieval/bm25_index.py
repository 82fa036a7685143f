"""Build, store, load and query the BM25 index."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import numpy.typing as npt

from insurance_rag.core.files import new_folder
from insurance_rag.retrieval import tokens
from insurance_rag.retrieval.base import Scores

if TYPE_CHECKING:
    import bm25s

Positions = npt.NDArray[np.integer]
"""Positions of chunks in the corpus."""

FREQUENT_SHARE = 20
"""A term is frequent if more than 1 / FREQUENT_SHARE of the chunks contain it.

For frequent terms, the column of scores is cached.
"""
MAX_COLUMNS = 256
"""Maximum number of cached columns. A column takes 4 bytes per chunk."""


class _Postings(TypedDict):
    """The scores as bm25s stores them: a sparse matrix with one row per term and one column per chunk."""

    data: Scores
    indices: Positions
    indptr: Positions
    num_docs: int


class Bm25Index:
    """Holds the score of every term in every chunk. Chunks are identified by position; queries are lists of terms."""

    def __init__(self, index: bm25s.BM25) -> None:
        self._index = index
        # Use plain arrays over the same memory, because slicing a memmap is slow.
        index.scores.update({name: np.asarray(index.scores[name]) for name in ("data", "indices", "indptr")})
        self._scores: _Postings = index.scores
        self.size = int(self._scores["num_docs"])
        """Number of chunks."""
        self._column = lru_cache(maxsize=MAX_COLUMNS)(self._dense_column)

    @classmethod
    def build(cls, encoded: tokens.Encoded) -> Bm25Index:
        """Build the index for an encoded corpus."""
        import bm25s

        index = bm25s.BM25()
        index.index(encoded, show_progress=False)
        return cls(index)

    @classmethod
    def load(cls, folder: Path) -> Bm25Index:
        """Load a stored index. Processes that load the same folder share its memory.

        Raises OSError, ValueError or KeyError if the folder cannot be read.
        """
        import bm25s

        return cls(bm25s.BM25.load(str(folder), mmap=True))

    def save(self, folder: Path) -> None:
        """Write the index to a temporary folder, then rename it, so that `folder` is always complete.

        Raises OSError if the index cannot be written.
        """
        with new_folder(folder) as temporary:
            self._index.save(str(temporary), show_progress=False)
            shutil.rmtree(folder, ignore_errors=True)  # if it exists, its index is unreadable

    def scores(self, terms: Sequence[str]) -> Scores:
        """Return one score per chunk; 0 means no match."""
        ids = self._ids(terms)
        rare = [i for i in ids if not self._is_frequent(i)]
        scores = self._index.get_scores_from_ids(rare) if ids else np.zeros(self.size, dtype=np.float32)
        for term in ids:
            if self._is_frequent(term):
                scores += self._column(term)
        return np.asarray(scores)

    def _ids(self, terms: Sequence[str]) -> list[int]:
        """Return the ids of the terms that are in the index. A repeated term yields repeated ids."""
        return list(self._index.get_tokens_ids(terms))

    def _is_frequent(self, term: int) -> bool:
        """Return whether adding a dense column is faster than adding the term's postings."""
        return int(self._postings_per_term[term]) * FREQUENT_SHARE > self.size

    def _dense_column(self, term: int) -> Scores:
        column = np.zeros(self.size, dtype=np.float32)
        chunks, added = self._postings(term)
        column[chunks] = added
        return column

    def _postings(self, term: int) -> tuple[Positions, Scores]:
        """Return the positions of the chunks that contain the term, and the score that the term adds to each."""
        span = slice(self._scores["indptr"][term], self._scores["indptr"][term + 1])
        return self._scores["indices"][span], self._scores["data"][span]

    @cached_property
    def _postings_per_term(self) -> Positions:
        """Number of chunks that contain each term."""
        return np.diff(self._scores["indptr"])
