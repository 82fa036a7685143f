"""Does the question lead the retriever to its clause? The rank of the clause among all, by BM25."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.korean import squeeze
from insurance_rag.records import Chunk
from insurance_rag.validation.check import SINGLE_PROCESS_ROWS, Table

UNRANKED = 0
"""Rows whose clause is not known, or was not looked for."""
BATCH = 500


class Ranker:
    """Ranks clauses for questions. Clauses of the same words count as one: any of them is the right one."""

    def __init__(self, chunks: Sequence[Chunk], cache: Path) -> None:
        from insurance_rag.retrieval.bm25 import Bm25Retriever

        self._retriever = Bm25Retriever(chunks, cache)
        self._at = {chunk.chunk_id: i for i, chunk in enumerate(chunks)}
        texts: dict[str, int] = {}
        self._text = np.array([texts.setdefault(squeeze(chunk.text), len(texts)) for chunk in chunks])

    def rank(self, question: str, chunk_id: str) -> int:
        """1 is first; a clause without any match comes last."""
        own = self._at[chunk_id]
        before = self._retriever.beating(question, own)
        return 1 + int(np.count_nonzero(self._text[before] != self._text[own]))


def rank_rows(
    table: Table,
    rows: Sequence[int],
    chunks: Sequence[Chunk],
    config: ValidationConfig,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Any:
    """For every row of the table the rank of its clause, UNRANKED for those not in `rows`."""
    ranks = np.full(len(table), UNRANKED, dtype=np.int32)
    known = {chunk.chunk_id for chunk in chunks}
    wanted = [i for i in rows if table.chunk_id(i) in known]
    if not wanted:
        return ranks
    batches = [wanted[at : at + BATCH] for at in range(0, len(wanted), BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        ranker = Ranker(chunks, Path(folder))
        workers = config.workers or os.cpu_count() or 1
        with contextlib.ExitStack() as stack:
            found: Iterable[list[int]]
            pairs = (_pairs(table, batch) for batch in batches)
            if workers == 1 or len(wanted) <= SINGLE_PROCESS_ROWS:
                found = ([ranker.rank(*pair) for pair in some] for some in pairs)
            else:
                # Each worker loads the index from the folder; spawn, as the analyser's threads do not survive a fork.
                pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (list(chunks), Path(folder)))
                found = stack.enter_context(pool).map(_rank, pairs)
            for batch, numbers in zip(batches, found, strict=True):
                ranks[batch] = numbers
                on_rows(len(batch))
    return ranks


def rank_report(ranks: Any) -> dict[str, Any]:
    """Recall at 1, 5 and 10 and the mean reciprocal rank over the ranked rows."""
    ranked = ranks[ranks != UNRANKED]
    if not len(ranked):
        return {"questions": 0}
    recalls = {f"recall@{k}": round(float((ranked <= k).mean()), 4) for k in (1, 5, 10)}
    mrr = float(np.where(ranked <= 10, 1 / ranked, 0).mean())
    return {"questions": len(ranked), **recalls, "mrr@10": round(mrr, 4), "worst": int(ranked.max())}


def _pairs(table: Table, batch: Sequence[int]) -> list[tuple[str, str]]:
    return [(table.row(i).instruction, table.chunk_id(i)) for i in batch]


_ranker: Ranker | None = None


def _start(chunks: Sequence[Chunk], cache: Path) -> None:
    global _ranker
    _ranker = Ranker(chunks, cache)


def _rank(pairs: Sequence[tuple[str, str]]) -> list[int]:
    assert _ranker is not None
    return [_ranker.rank(*pair) for pair in pairs]
