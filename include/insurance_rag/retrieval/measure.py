"""How often the gold clause is found: hit@k, recall@k and MRR@10 with 95 % intervals, and the time a query takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from insurance_rag.core.records import Question
from insurance_rag.retrieval.index import Hit, Retriever

CUTOFFS = (1, 5, 10)


def measure_retrieval(retriever: Retriever, questions: Sequence[Question], use_filters: bool = True) -> dict[str, Any]:
    """Figures over the questions that have a gold clause, and one row a question.

    hit@k: at least one gold clause among the first k; recall@k: the share of the gold clauses found. A duplicate of a
    gold clause counts as that clause. Intervals are bootstrapped over the questions.
    """
    asked = [question for question in questions if question.gold_chunk_ids]
    rows = []
    for question in asked:
        started = time.perf_counter()
        hits = retriever.search(question.question, max(CUTOFFS), question.filters if use_filters else None)
        ms = 1000 * (time.perf_counter() - started)
        rows.append(_row(question, hits, ms))
    figures: dict[str, Any] = {"n": len(asked)}
    for k in CUTOFFS:
        figures[f"recall@{k}"] = _mean([row[f"recall@{k}"] for row in rows])
        figures[f"hit@{k}"] = _mean([float(bool(row["rank"]) and row["rank"] <= k) for row in rows])
    figures["mrr@10"] = _mean([1 / row["rank"] if row["rank"] else 0.0 for row in rows])
    times = [row["ms"] for row in rows] or [0.0]
    figures["query_ms"] = {f"p{p}": round(float(np.percentile(times, p)), 3) for p in (50, 95)}
    return {**figures, "rows": rows}


def _row(question: Question, hits: list[Hit], ms: float) -> dict[str, Any]:
    gold = question.gold_chunk_ids
    rank = next((place for place, hit in enumerate(hits, 1) if hit.is_any_of(gold)), None)
    row: dict[str, Any] = {"question_id": question.question_id, "rank": rank, "ms": round(ms, 3)}
    for k in CUTOFFS:
        found = {i for hit in hits[:k] for i in (hit.chunk_id, *hit.duplicates)}
        row[f"recall@{k}"] = len(found.intersection(gold)) / len(set(gold))
    return row | {"chunk_ids": [hit.chunk_id for hit in hits]}


def _mean(values: list[float], draws: int = 2000) -> dict[str, Any]:
    """The mean and the 95 % interval of a bootstrap over the questions; None where there is no question."""
    if not values:
        return {"value": None, "interval": None}
    sample = np.asarray(values)
    means = np.random.default_rng(0).choice(sample, (draws, len(sample))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return {"value": round(float(sample.mean()), 4), "interval": [round(float(low), 4), round(float(high), 4)]}
