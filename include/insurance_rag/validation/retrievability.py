"""Does the question lead the retriever to its clause? The rank of the clause among all, by BM25."""

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
from typing import Any

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.core.files import write_jsonl
from insurance_rag.core.records import Chunk
from insurance_rag.korean import squeeze
from insurance_rag.retrieval import tokens
from insurance_rag.retrieval.bm25 import Bm25Index
from insurance_rag.retrieval.index import searchable
from insurance_rag.validation.check import SINGLE_PROCESS_ROWS, Table
from insurance_rag.validation.parallel import in_order

UNRANKED = 0
"""Rows whose clause is not known, or was not looked for."""
BATCH = 500


class Ranker:
    """Ranks clauses for questions. Clauses of the same words count as one: any of them is the right one."""

    def __init__(self, index: Bm25Index, text_of: np.ndarray[Any, Any]) -> None:
        self._index = index
        self._text_of = text_of  # number of each chunk's words

    def rank(self, terms: Sequence[str], chunk: int) -> int:
        """Of the clause at position `chunk`: 1 is first; a clause without any match comes last."""
        before = self._index.beating(terms, chunk)
        return 1 + int(np.count_nonzero(self._text_of[before] != self._text_of[chunk]))


def rank_rows(
    table: Table,
    rows: Sequence[int],
    chunks: Sequence[Chunk],
    config: ValidationConfig,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Any:
    """For every row of the table the rank of its clause, UNRANKED for those not in `rows`."""
    ranks = np.full(len(table), UNRANKED, dtype=np.int32)
    at = {chunk.chunk_id: i for i, chunk in enumerate(chunks)}
    wanted = [i for i in rows if table.chunk_id(i) in at]
    if not wanted:
        return ranks
    batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    asked = (([table.row(i).instruction for i in batch], [at[table.chunk_id(i)] for i in batch]) for batch in batches)
    # The analyser takes half a gigabyte: it works here, on threads of its own, and the processes get the terms.
    queries = ((tokens.terms(questions), positions) for questions, positions in asked)
    for batch, numbers in zip(batches, _ranked(queries, len(wanted), chunks, config), strict=True):
        ranks[batch] = numbers
        on_rows(len(batch))
    return ranks


Queries = tuple[list[list[str]], list[int]]
"""The terms of some questions, and the positions of their clauses."""


def _ranked(
    queries: Iterator[Queries], count: int, chunks: Sequence[Chunk], config: ValidationConfig
) -> Iterator[list[int]]:
    text_of = _numbered([squeeze(chunk.text) for chunk in chunks])
    workers = config.workers or os.cpu_count() or 1
    if workers == 1 or count <= SINGLE_PROCESS_ROWS:
        ranker = Ranker(Bm25Index.build(tokens.encode([searchable(chunk) for chunk in chunks])), text_of)
        yield from (_rank_all(ranker, some) for some in queries)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, processes = Path(name), get_context("spawn")  # the analyser's threads do not survive a fork
        write_jsonl(folder / "texts.jsonl", (searchable(chunk) for chunk in chunks))
        _trim()
        # Analyser and builder take a gigabyte each, which goes back when their processes end.
        with ProcessPoolExecutor(1, processes, max_tasks_per_child=1) as builder:
            builder.submit(_encode, folder).result()
            builder.submit(_build, folder).result()
        with ProcessPoolExecutor(workers, processes, _start, (folder / "index", text_of)) as pool:
            yield from in_order(pool, _rank, queries, ahead=2 * workers)


def rank_report(ranks: Any) -> dict[str, Any]:
    """Recall at 1, 5 and 10 and the mean reciprocal rank over the ranked rows."""
    ranked = ranks[ranks != UNRANKED]
    if not len(ranked):
        return {"questions": 0}
    recalls = {f"recall@{k}": round(float((ranked <= k).mean()), 4) for k in (1, 5, 10)}
    mrr = float(np.where(ranked <= 10, 1 / ranked, 0).mean())
    return {"questions": len(ranked), **recalls, "mrr@10": round(mrr, 4), "worst": int(ranked.max())}


def _numbered(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """The same number for the same text."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts])


def _rank_all(ranker: Ranker, queries: Queries) -> list[int]:
    return [ranker.rank(terms, chunk) for terms, chunk in zip(*queries, strict=True)]


def _trim() -> None:
    """What was freed goes back to the system: hundreds of megabytes after a million rows. Only glibc can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


# ---- in a process of its own


_ranker: Ranker | None = None


def _encode(folder: Path) -> None:
    with (folder / "texts.jsonl").open(encoding="utf-8") as lines, (folder / "encoded").open("wb") as out:
        pickle.dump(tokens.encode([json.loads(line) for line in lines]), out)


def _build(folder: Path) -> None:
    with (folder / "encoded").open("rb") as encoded:
        Bm25Index.build(pickle.load(encoded)).save(folder / "index")


def _start(index: Path, text_of: np.ndarray[Any, Any]) -> None:
    global _ranker
    _ranker = Ranker(Bm25Index.load(index), text_of)


def _rank(queries: Queries) -> list[int]:
    assert _ranker is not None
    return _rank_all(_ranker, queries)
