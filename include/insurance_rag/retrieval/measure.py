"""Measure a retriever: hit@k, recall@k and MRR@10 with 95% confidence intervals, and the time per search."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from insurance_rag.core.records import Estimate, Question, RetrievalResult, RetrievalRow
from insurance_rag.retrieval.base import Hit, Retriever

CUTOFFS = (1, 5, 10)


def measure_retrieval(retriever: Retriever, questions: Sequence[Question], use_filters: bool = True) -> RetrievalResult:
    """Search for every question that has gold chunks. Return the scores, and one row per question.

    hit@k is the fraction of questions with a gold chunk among the first k hits. recall@k is the fraction of a
    question's gold chunks among the first k hits, averaged over the questions. mrr@10 is the mean of 1 / (rank of
    the first gold chunk). A question without a gold chunk among the first 10 hits adds 0 to this mean. A duplicate of a
    gold chunk counts as that chunk. Confidence intervals are bootstrapped over the questions.
    """
    rows = []
    for question in questions:
        if not question.gold_chunk_ids:
            continue
        started = time.perf_counter()
        hits = retriever.search(question.question, max(CUTOFFS), question.filters if use_filters else None)
        ms = 1000 * (time.perf_counter() - started)
        rows.append(_row(question, hits, ms))
    scores: dict[str, Estimate] = {}
    for k in CUTOFFS:
        scores[f"recall@{k}"] = _mean([row.recall[f"recall@{k}"] for row in rows])
        scores[f"hit@{k}"] = _mean([float(bool(row.rank) and (row.rank or 0) <= k) for row in rows])
    scores["mrr@10"] = _mean([1 / row.rank if row.rank else 0.0 for row in rows])
    times = [row.ms for row in rows] or [0.0]
    query_ms = {f"p{p}": round(float(np.percentile(times, p)), 3) for p in (50, 95)}
    return RetrievalResult(n=len(rows), scores=scores, query_ms=query_ms, rows=rows)


def _row(question: Question, hits: list[Hit], ms: float) -> RetrievalRow:
    gold = question.gold_chunk_ids
    recall = {}
    for k in CUTOFFS:
        found = {i for hit in hits[:k] for i in (hit.chunk_id, *hit.duplicates)}
        recall[f"recall@{k}"] = len(found.intersection(gold)) / len(set(gold))
    return RetrievalRow(
        question_id=question.question_id,
        rank=next((rank for rank, hit in enumerate(hits, 1) if hit.is_any_of(gold)), None),
        ms=round(ms, 3),
        recall=recall,
        chunk_ids=[hit.chunk_id for hit in hits],
    )


def _mean(values: list[float], bootstrap_samples: int = 2000) -> Estimate:
    """Return the mean and its 95% bootstrap interval. Both are None if `values` is empty."""
    if not values:
        return Estimate(value=None, interval=None)
    sample = np.asarray(values)
    means = np.random.default_rng(0).choice(sample, (bootstrap_samples, len(sample))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(value=round(float(sample.mean()), 4), interval=(round(float(low), 4), round(float(high), 4)))
