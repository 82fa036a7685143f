"""BM25 over morphemes and bigrams, with the index kept on disk under the hash of the corpus."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
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


class Bm25Retriever(Retriever):
    """Lucene's BM25 with its usual k1 and b: tuning them, or the variant, gains nothing on Korean clauses."""

    def __init__(self, chunks: Sequence[Chunk], cache: Path | None = None) -> None:
        super().__init__(chunks)
        texts = [searchable(chunk) for chunk in self.chunks]
        folder = cache / f"bm25-{sha256_text(tokens.VERSION, *texts)[:16]}" if cache else None
        self._index = _load(folder) or _build(texts, folder)
        self._column = lru_cache(maxsize=COLUMNS)(self._spread)

    def scores(self, query: str) -> Scores:
        scores, columns = self._parts(query)
        for column, _ in columns:
            scores += column
        scores[scores <= 0] = -np.inf
        return scores

    def beating(self, query: str, chunk: int) -> np.ndarray[Any, Any]:
        """Positions of the chunks that score higher than the one at `chunk`: as by `scores`, several times quicker.

        Only chunks whose rare terms alone come near enough are looked at: frequent ones can lift them no further than
        the columns' largest values.
        """
        scores, columns = self._parts(query)
        own = max(sum((column[chunk] for column, _ in columns), scores[chunk]), np.float32(0))
        least = own - sum(largest for _, largest in columns) - ROUNDING
        near = np.flatnonzero(scores > least) if least > 0 else np.arange(len(scores))
        found = scores[near]
        for column, _ in columns:
            found += column[near]
        return near[found > own]

    def _parts(self, query: str) -> tuple[Scores, list[tuple[Scores, float]]]:
        """The scores of the rare terms; of the frequent ones the columns to be added, and their largest values."""
        ids = self._index.get_tokens_ids(tokens.terms([query])[0])
        rare = [i for i in ids if not self._is_frequent(i)]
        scores = self._index.get_scores_from_ids(rare) if ids else np.zeros(len(self.chunks), dtype=np.float32)
        return scores, [self._column(i) for i in ids if self._is_frequent(i)]

    def _is_frequent(self, term: int) -> bool:
        """Whether adding a whole column is quicker than adding the term's postings one by one."""
        starts = self._index.scores["indptr"]
        return int(starts[term + 1] - starts[term]) * FREQUENT > len(self.chunks)

    def _spread(self, term: int) -> tuple[Scores, float]:
        posted = self._index.scores
        span = slice(posted["indptr"][term], posted["indptr"][term + 1])
        column = np.zeros(len(self.chunks), dtype=np.float32)
        column[posted["indices"][span]] = posted["data"][span]
        return column, float(column.max())


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
