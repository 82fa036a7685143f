"""BM25 over morphemes and bigrams, with the index kept on disk under the hash of the corpus."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval import tokens
from insurance_rag.retrieval.index import Retriever, Scores, searchable

log = logging.getLogger(__name__)

#: A term that stands in more than one of this many chunks has its scores kept as a column over all chunks.
FREQUENT = 20
#: Sums of float32 differ by less than this, whatever their order.
ROUNDING = 1e-3
#: Columns kept; 4 bytes a chunk each.
COLUMNS = 256
#: Of a chunk's score, the share that terms may add which are looked up for the few chunks still in the race.
LOOKED_UP = 0.7


class Bm25Retriever(Retriever):
    """Lucene's BM25 with its usual k1 and b: tuning them, or the variant, gains nothing on Korean clauses."""

    def __init__(self, chunks: Sequence[Chunk], cache: Path | None = None) -> None:
        super().__init__(chunks)
        texts = [searchable(chunk) for chunk in self.chunks]
        folder = cache / f"bm25-{sha256_text(tokens.VERSION, *texts)[:16]}" if cache else None
        index = _load(folder)
        if index is None:
            index = Bm25Index.build(tokens.encode(texts))
            if folder is not None:
                _keep(index, folder)
        self.index = index

    def scores(self, query: str) -> Scores:
        scores = self.index.scores(tokens.terms([query])[0])
        scores[scores <= 0] = -np.inf
        return scores


class Bm25Index:
    """The scores of every term for every chunk, chunks known by their position alone. Queries are lists of terms."""

    def __init__(self, index: Any) -> None:
        self._index = index
        # plain views: arrays of the class memmap are slow to slice
        index.scores.update({name: np.asarray(index.scores[name]) for name in ("data", "indices", "indptr")})
        self.size = int(index.scores["num_docs"])
        self._column = lru_cache(maxsize=COLUMNS)(self._spread)

    @classmethod
    def build(cls, encoded: tokens.Encoded) -> Bm25Index:
        import bm25s

        index = bm25s.BM25()
        index.index(encoded, show_progress=False)
        return cls(index)

    @classmethod
    def load(cls, folder: Path) -> Bm25Index:
        """Raises OSError, ValueError or KeyError where it cannot. Processes that load it share its memory."""
        import bm25s

        return cls(bm25s.BM25.load(str(folder), mmap=True))

    def save(self, folder: Path) -> None:
        """Write beside, then rename: a folder of this name is always whole."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            self._index.save(str(beside), show_progress=False)
            shutil.rmtree(folder, ignore_errors=True)  # there only if it could not be read
            beside.rename(folder)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise

    def scores(self, terms: Sequence[str]) -> Scores:
        """One score a chunk, 0 without a match."""
        ids = self._ids(terms)
        rare = [i for i in ids if not self._is_frequent(i)]
        scores = self._index.get_scores_from_ids(rare) if ids else np.zeros(self.size, dtype=np.float32)
        for term in ids:
            if self._is_frequent(term):
                scores += self._column(term)
        return np.asarray(scores)

    def beating(self, terms: Sequence[str], chunk: int) -> np.ndarray[Any, Any]:
        """Positions of the chunks that score higher than the one at `chunk`: as by `scores`, several times quicker.

        After MaxScore (Turtle and Flood, 1995): chunks without the weightiest terms cannot get there, so only the
        postings of these are read whole, those that weigh most for their length first.
        """
        ids, times = np.unique(np.array(self._ids(terms), dtype=np.int64), return_counts=True)
        wanted = np.zeros(len(self._largest), dtype=np.float32)
        wanted[ids] = times
        row = slice(*self._by_chunk.indptr[chunk : chunk + 2])
        own = float(wanted[self._by_chunk.indices[row]] @ self._by_chunk.data[row])

        most = self._largest[ids] * times
        order = np.argsort(-most / self._posted[ids])
        still = np.append(np.cumsum(most[order][::-1])[::-1], 0) + ROUNDING  # to be gained after the first i terms
        weighty = int(np.argmax(still <= max(LOOKED_UP * own, ROUNDING)))
        sums = np.zeros(self.size, dtype=np.float32)
        for i in order[:weighty]:
            chunks, added = self._postings(ids[i])
            sums[chunks] += added * np.float32(times[i])
        near = np.flatnonzero(sums > max(own - still[weighty], 0))
        scores = self._by_chunk[near] @ wanted  # equal chunks have equal sums only if made in the same order: own too
        return near[scores > scores[near == chunk].sum()]

    def _ids(self, terms: Sequence[str]) -> list[int]:
        """Of the terms that stand in any chunk, as often as they are given."""
        return list(self._index.get_tokens_ids(terms))

    def _is_frequent(self, term: int) -> bool:
        """Whether adding a whole column is quicker than adding the term's postings one by one."""
        return int(self._posted[term]) * FREQUENT > self.size

    def _spread(self, term: int) -> Scores:
        column = np.zeros(self.size, dtype=np.float32)
        chunks, added = self._postings(term)
        column[chunks] = added
        return column

    def _postings(self, term: int) -> tuple[np.ndarray[Any, Any], Scores]:
        """The chunks with the term, and what it adds to each."""
        posted = self._index.scores
        span = slice(posted["indptr"][term], posted["indptr"][term + 1])
        return posted["indices"][span], posted["data"][span]

    @cached_property
    def _posted(self) -> np.ndarray[Any, Any]:
        """How many chunks each term stands in."""
        return np.diff(self._index.scores["indptr"])

    @cached_property
    def _largest(self) -> Scores:
        """The most that each term adds to any chunk."""
        posted = self._index.scores
        return np.maximum.reduceat(posted["data"], posted["indptr"][:-1])

    @cached_property
    def _by_chunk(self) -> Any:
        """chunks x terms: what each term of a chunk adds to its score, as a sparse matrix."""
        from scipy.sparse import csc_array

        posted = self._index.scores
        shape = (self.size, len(self._largest))
        starts = posted["indptr"]
        if starts[-1] <= np.iinfo(np.int32).max:
            starts = starts.astype(np.int32)  # int64 would make the other indices so: half as much memory again
        return csc_array((posted["data"], posted["indices"], starts), shape).tocsr()


def _load(folder: Path | None) -> Bm25Index | None:
    if folder is None or not folder.is_dir():
        return None
    try:
        return Bm25Index.load(folder)
    except (OSError, ValueError, KeyError) as e:
        log.warning("%s: the index cannot be read (%s); it is built anew", folder, e)
        return None


def _keep(index: Bm25Index, folder: Path) -> None:
    try:
        index.save(folder)
    except OSError as e:
        log.warning("%s: the index is not kept (%s)", folder, e)
