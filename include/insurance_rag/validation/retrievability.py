"""Searches for each question with BM25 and ranks its chunk, to check whether a retriever can find the chunk."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

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

QueryBatch = tuple[list[list[str]], list[int]]
"""The search terms of each question in a batch, and the positions of the questions' chunks."""


class Ranker:
    """Finds the rank of the right chunk in a search for a question. Chunks with the same text count as one."""

    def __init__(self, index: Bm25Index, text_ids: NDArray[np.int64]) -> None:
        """`text_ids` has one number per chunk. Chunks with the same text have equal numbers."""
        self._index = index
        self._text_ids = text_ids

    def rank(self, terms: Sequence[str], chunk: int) -> int:
        """Return the rank, starting at 1, of the chunk at position `chunk` in a search for `terms`."""
        better = self._index.positions_above(terms, chunk)
        return 1 + int(np.count_nonzero(self._text_ids[better] != self._text_ids[chunk]))

    def rank_batch(self, batch: QueryBatch) -> list[int]:
        """Return the rank of the right chunk for each question in a batch."""
        return [self.rank(terms, chunk) for terms, chunk in zip(*batch, strict=True)]


def rank_rows(
    table: RowTable,
    rows: Sequence[int],
    chunks: Sequence[Chunk],
    config: ValidationConfig,
    on_rows: Callable[[int], None] = lambda n: None,
) -> NDArray[np.int32]:
    """Return the rank of every row in the table. It is UNRANKED if the row is not in `rows` or its chunk is unknown.

    `on_rows` is called with the number of rows that were ranked since the previous call.
    """
    ranks = np.full(len(table), UNRANKED, dtype=np.int32)
    position = {chunk.chunk_id: i for i, chunk in enumerate(chunks)}
    wanted = [i for i in rows if table.chunk_id(i) in position]
    if not wanted:
        return ranks
    batches = [wanted[start : start + BATCH_ROWS] for start in range(0, len(wanted), BATCH_ROWS)]
    texts = (
        ([table.row(i).instruction for i in batch], [position[table.chunk_id(i)] for i in batch]) for batch in batches
    )
    # The morphological analyzer needs half a gigabyte, so it runs only in this process. The workers get search terms.
    queries = ((tokens.terms(questions), positions) for questions, positions in texts)
    for batch, found in zip(batches, _ranked(queries, len(wanted), chunks, config), strict=True):
        ranks[batch] = found
        on_rows(len(batch))
    return ranks


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


def _ranked(
    queries: Iterator[QueryBatch], count: int, chunks: Sequence[Chunk], config: ValidationConfig
) -> Iterator[list[int]]:
    text_ids = _text_ids([remove_whitespace(chunk.text) for chunk in chunks])
    workers = config.workers or os.cpu_count() or 1
    if workers == 1 or count <= SINGLE_PROCESS_ROWS:
        ranker = Ranker(Bm25Index.build(tokens.encode([searchable_text(chunk) for chunk in chunks])), text_ids)
        yield from (ranker.rank_batch(batch) for batch in queries)
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
            yield from in_order(pool, _rank_in_worker, queries, ahead=2 * workers)


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


def _rank_in_worker(batch: QueryBatch) -> list[int]:
    assert _ranker is not None
    return _ranker.rank_batch(batch)
