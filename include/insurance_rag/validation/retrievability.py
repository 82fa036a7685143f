"""Searches for each question with BM25: the rank of the question's chunk, and the chunks found first.

The rank shows whether a retriever can find the chunk. The chunks found first become distractors in training rows.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from insurance_rag.config import ValidationConfig
from insurance_rag.core.files import write_jsonl
from insurance_rag.core.records import Chunk, RankSummary
from insurance_rag.korean import remove_whitespace
from insurance_rag.retrieval import tokens
from insurance_rag.retrieval.base import searchable_text
from insurance_rag.retrieval.bm25_index import Bm25Index
from insurance_rag.validation.parallel import in_order
from insurance_rag.validation.row_checks import SINGLE_PROCESS_ROWS
from insurance_rag.validation.table import RowTable

UNRANKED = 0
"""Stands for "no rank": there was no search for the row's question, or the row's chunk is unknown."""
BATCH_ROWS = 500
HITS = 16
"""Number of chunks that are kept per question. Some of them are not used, e.g. because they repeat the right chunk."""
NO_CHUNK = -1
"""Fills the list of hits if there are fewer than HITS."""

QueryBatch = tuple[list[list[str]], list[int]]
"""The search terms of each question in a batch, and the positions of the questions' chunks."""


class Found(NamedTuple):
    """The result of one search."""

    rank: int
    """Rank of the right chunk, starting at 1."""
    hits: list[int]
    """Positions of the chunks found first, best first. Chunks with the same text count once."""


@dataclass(frozen=True)
class Ranking:
    """The searches for the questions of all rows in a table. Rows are numbered as in the table."""

    ranks: NDArray[np.int32]
    """Rank of each row's chunk; UNRANKED if there was no search."""
    hits: NDArray[np.int32]
    """Shape [rows, HITS]: positions of the chunks that the search found first, filled with NO_CHUNK."""

    @classmethod
    def empty(cls, rows: int) -> Ranking:
        """Return a ranking without searches."""
        return cls(np.full(rows, UNRANKED, dtype=np.int32), np.full((rows, HITS), NO_CHUNK, dtype=np.int32))


class Ranker:
    """Finds the rank of the right chunk in a search for a question. Chunks with the same text count as one."""

    def __init__(self, index: Bm25Index, text_ids: NDArray[np.int64]) -> None:
        """`text_ids` has one number per chunk. Chunks with the same text have equal numbers."""
        self._index = index
        self._text_ids = text_ids

    def search(self, terms: Sequence[str], chunk: int) -> Found:
        """Search for `terms`, and return the rank of the chunk at position `chunk` and the best chunks."""
        scores = self._index.scores(terms)
        better = np.flatnonzero(scores > scores[chunk])
        rank = 1 + int(np.count_nonzero(self._text_ids[better] != self._text_ids[chunk]))
        n = min(2 * HITS, len(scores))
        best = np.argpartition(-scores, n - 1)[:n]
        best = best[np.lexsort((best, -scores[best]))]
        _, first = np.unique(self._text_ids[best], return_index=True)
        hits = [int(best[i]) for i in np.sort(first) if scores[best[i]] > 0]
        return Found(rank, hits[:HITS])

    def search_batch(self, batch: QueryBatch) -> list[Found]:
        """Return the result of the search for each question in a batch."""
        return [self.search(terms, chunk) for terms, chunk in zip(*batch, strict=True)]


def rank_rows(
    table: RowTable,
    rows: Sequence[int],
    chunks: Sequence[Chunk],
    config: ValidationConfig,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Ranking:
    """Search for the questions of `rows`. Rows whose chunk is unknown are left out.

    `on_rows` is called with the number of rows that were ranked since the previous call.
    """
    ranking = Ranking.empty(len(table))
    position = {chunk.chunk_id: i for i, chunk in enumerate(chunks)}
    wanted = [i for i in rows if table.chunk_id(i) in position]
    if not wanted:
        return ranking
    batches = [wanted[start : start + BATCH_ROWS] for start in range(0, len(wanted), BATCH_ROWS)]
    texts = (
        ([table.row(i).instruction for i in batch], [position[table.chunk_id(i)] for i in batch]) for batch in batches
    )
    # The morphological analyzer needs half a gigabyte, so it runs only in this process. The workers get search terms.
    queries = ((tokens.terms(questions), positions) for questions, positions in texts)
    for batch, found in zip(batches, _searched(queries, len(wanted), chunks, config), strict=True):
        for i, result in zip(batch, found, strict=True):
            ranking.ranks[i] = result.rank
            ranking.hits[i, : len(result.hits)] = result.hits
        on_rows(len(batch))
    return ranking


def rank_summary(ranks: NDArray[np.int32]) -> RankSummary:
    """Return recall at 1, 5 and 10, the mean reciprocal rank and the worst rank for the ranked rows."""
    ranked = ranks[ranks != UNRANKED]
    if not len(ranked):
        return RankSummary()
    return RankSummary(
        questions=len(ranked),
        recall_at_1=_share(ranked <= 1),
        recall_at_5=_share(ranked <= 5),
        recall_at_10=_share(ranked <= 10),
        mrr_at_10=round(float(np.where(ranked <= 10, 1 / ranked, 0).mean()), 4),
        worst_rank=int(ranked.max()),
    )


def _share(flags: NDArray[np.bool_]) -> float:
    return round(float(flags.mean()), 4)


def _searched(
    queries: Iterator[QueryBatch], count: int, chunks: Sequence[Chunk], config: ValidationConfig
) -> Iterator[list[Found]]:
    text_ids = _text_ids([remove_whitespace(chunk.text) for chunk in chunks])
    workers = config.workers or os.cpu_count() or 1
    if workers == 1 or count <= SINGLE_PROCESS_ROWS:
        ranker = Ranker(Bm25Index.build(tokens.encode([searchable_text(chunk) for chunk in chunks])), text_ids)
        yield from (ranker.search_batch(batch) for batch in queries)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, processes = Path(name), get_context("spawn")  # the analyzer's threads do not survive a fork
        write_jsonl(folder / "texts.jsonl", (searchable_text(chunk) for chunk in chunks))
        _return_freed_memory()
        # The analyzer and the index builder each need a gigabyte. Each runs in its own process, and the memory is freed
        # when that process ends.
        with ProcessPoolExecutor(1, processes, max_tasks_per_child=1) as builder:
            builder.submit(_encode_texts, folder).result()
            builder.submit(_build_index, folder).result()
        with ProcessPoolExecutor(workers, processes, _start_worker, (folder / "index", text_ids)) as pool:
            yield from in_order(pool, _search_in_worker, queries, ahead=2 * workers)


def _text_ids(texts: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts])


def _return_freed_memory() -> None:
    """Return freed memory to the system (hundreds of megabytes after a million rows). Works only with glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _encode_texts(folder: Path) -> None:
    """Convert texts.jsonl to search terms. Runs in a separate process."""
    with (folder / "texts.jsonl").open(encoding="utf-8") as lines, (folder / "encoded").open("wb") as out:
        pickle.dump(tokens.encode([json.loads(line) for line in lines]), out)


def _build_index(folder: Path) -> None:
    """Build the index from the search terms. Runs in a separate process."""
    with (folder / "encoded").open("rb") as encoded:
        Bm25Index.build(pickle.load(encoded)).save(folder / "index")


_ranker: Ranker | None = None
"""The ranker in a worker process; None in the main process."""


def _start_worker(index: Path, text_ids: NDArray[np.int64]) -> None:
    global _ranker
    _ranker = Ranker(Bm25Index.load(index), text_ids)


def _search_in_worker(batch: QueryBatch) -> list[Found]:
    assert _ranker is not None
    return _ranker.search_batch(batch)
