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

from insurance_rag.artifacts import sha256_text
from insurance_rag.records import Chunk
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
        self._index = _load(folder) or _build(texts, folder)
        self._column = lru_cache(maxsize=COLUMNS)(self._spread)

    def scores(self, query: str) -> Scores:
        ids = self._terms(query)
        rare = [i for i in ids if not self._is_frequent(i)]
        scores = self._index.get_scores_from_ids(rare) if ids else np.zeros(len(self.chunks), dtype=np.float32)
        for term in ids:
            if self._is_frequent(term):
                scores += self._column(term)
        scores[scores <= 0] = -np.inf
        return scores

    def beating(self, query: str, chunk: int) -> np.ndarray[Any, Any]:
        """Positions of the chunks that score higher than the one at `chunk`: as by `scores`, several times quicker.

        After MaxScore (Turtle and Flood, 1995): chunks without the weightiest terms cannot get there, so only the
        postings of these are read whole, those that weigh most for their length first.
        """
        terms, times = np.unique(np.array(self._terms(query), dtype=np.int64), return_counts=True)
        wanted = np.zeros(len(self._largest), dtype=np.float32)
        wanted[terms] = times
        row = slice(*self._by_chunk.indptr[chunk : chunk + 2])
        own = float(wanted[self._by_chunk.indices[row]] @ self._by_chunk.data[row])

        most = self._largest[terms] * times
        order = np.argsort(-most / self._posted[terms])
        still = np.append(np.cumsum(most[order][::-1])[::-1], 0) + ROUNDING  # to be gained after the first i terms
        weighty = int(np.argmax(still <= max(LOOKED_UP * own, ROUNDING)))
        sums = np.zeros(len(self.chunks), dtype=np.float32)
        for i in order[:weighty]:
            chunks, added = self._postings(terms[i])
            sums[chunks] += added * np.float32(times[i])
        near = np.flatnonzero(sums > max(own - still[weighty], 0))
        scores = self._by_chunk[near] @ wanted  # equal chunks have equal sums only if made in the same order: own too
        return near[scores > scores[near == chunk].sum()]

    def _terms(self, query: str) -> list[int]:
        """The query's terms that stand in any chunk, as often as they stand in the query."""
        return list(self._index.get_tokens_ids(tokens.terms([query])[0]))

    def _is_frequent(self, term: int) -> bool:
        """Whether adding a whole column is quicker than adding the term's postings one by one."""
        return int(self._posted[term]) * FREQUENT > len(self.chunks)

    def _spread(self, term: int) -> Scores:
        column = np.zeros(len(self.chunks), dtype=np.float32)
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
        shape = (len(self.chunks), len(self._largest))
        return csc_array((posted["data"], posted["indices"], posted["indptr"]), shape).tocsr()


def _load(folder: Path | None) -> Any:
    if folder is None or not folder.is_dir():
        return None
    import bm25s

    try:
        return bm25s.BM25.load(str(folder))
    except (OSError, ValueError, KeyError) as e:
        log.warning("%s: the index cannot be read (%s); it is built anew", folder, e)
        return None


def _build(texts: list[str], folder: Path | None) -> Any:
    import bm25s

    index = bm25s.BM25()
    index.index(tokens.terms(texts), show_progress=False)
    if folder is not None:
        _save(index, folder)
    return index


def _save(index: Any, folder: Path) -> None:
    """Write beside, then rename: a folder of this name is always whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as e:
        log.warning("%s: the index is not kept (%s)", folder, e)
        return
    try:
        index.save(str(beside), show_progress=False)
        shutil.rmtree(folder, ignore_errors=True)  # there only if it could not be read
        beside.rename(folder)
    except OSError as e:
        log.warning("%s: the index is not kept (%s)", folder, e)
        shutil.rmtree(beside, ignore_errors=True)
