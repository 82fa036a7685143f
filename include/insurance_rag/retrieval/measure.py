"""Measure a retriever: hit@k, recall@k and MRR@10 with 95% confidence intervals, and the time per search."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from insurance_rag.core.records import Estimate, Question, RetrievalResult, RetrievalRow
from insurance_rag.core.stats.paired import paired_difference
from insurance_rag.retrieval.base import Hit, Part, Retriever

log = logging.getLogger(__name__)

CUTOFFS = (1, 3, 5, 10)
COMPARED = 3
"""Cutoff at which a retriever is compared with its parts: the default number of chunks in a prompt."""
MAX_P = 0.05
"""A difference with a larger p value may be due to chance, and the warning says so."""


@dataclass(frozen=True)
class _MeasuredPart:
    """A part of a retriever with its rows, when it searches alone."""

    part: Part
    rows: list[RetrievalRow]

    @property
    def hits(self) -> int:
        """Number of questions with a gold chunk among the first hits."""
        return sum(_is_hit(row, COMPARED) for row in self.rows)


def measure_retrieval(retriever: Retriever, questions: Sequence[Question], use_filters: bool = True) -> RetrievalResult:
    """Search for every question that has gold chunks. Return the scores, and one row per question.

    hit@k is the fraction of questions with a gold chunk among the first k hits. recall@k is the fraction of a
    question's gold chunks among the first k hits, averaged over the questions. mrr@10 is the mean of 1 / (rank of
    the first gold chunk). A question without a gold chunk among the first 10 hits adds 0 to this mean. A duplicate of a
    gold chunk counts as that chunk. Confidence intervals are bootstrapped over the questions.

    The parts of a hybrid retriever, and a retriever with a reranker without it, are measured as well. If one of them is
    better than the whole, the result contains a warning, which is also logged.
    """
    rows = _search(retriever, questions, use_filters)
    times = [row.ms for row in rows] or [0.0]
    parts: dict[str, dict[str, Estimate]] = {}
    warnings: list[str] = []
    combined = [(retriever, rows)]
    while combined:  # a reranked hybrid retriever is made of a retriever that has parts itself
        whole, whole_rows = combined.pop()
        measured = [_MeasuredPart(part, _search(part.retriever, questions, use_filters)) for part in whole.parts]
        parts |= {each.part.name: _scores(each.rows) for each in measured}
        warnings += _warnings(whole.label, whole_rows, measured)
        combined += [(each.part.retriever, each.rows) for each in measured]
    for warning in warnings:
        log.warning("%s", warning)
    return RetrievalResult(
        n=len(rows),
        scores=_scores(rows),
        query_ms={f"p{p}": round(float(np.percentile(times, p)), 3) for p in (50, 95)},
        parts=parts,
        warnings=warnings,
        rows=rows,
    )


def _search(retriever: Retriever, questions: Sequence[Question], use_filters: bool) -> list[RetrievalRow]:
    rows = []
    for question in questions:
        if not question.gold_chunk_ids:
            continue
        started = time.perf_counter()
        hits = retriever.search(question.question, max(CUTOFFS), question.filters if use_filters else None)
        rows.append(_row(question, hits, 1000 * (time.perf_counter() - started)))
    return rows


def _warnings(label: str, rows: Sequence[RetrievalRow], parts: Sequence[_MeasuredPart]) -> Iterator[str]:
    """Yield a message if one of the parts alone finds more gold chunks than the whole."""
    best = max(parts, key=lambda each: each.hits, default=None)
    if best is None or best.hits <= sum(_is_hit(row, COMPARED) for row in rows):
        return
    whole_hits, best_hits = ({row.question_id: _is_hit(row, COMPARED) for row in each} for each in (rows, best.rows))
    p = paired_difference(whole_hits, best_hits).p
    chance = f" (p = {p:.2f}, so the difference may be due to chance)" if p > MAX_P else ""
    alone = ", ".join(f"{each.part.name} {each.hits / len(rows):.2f}" for each in parts)
    yield (
        f"hit@{COMPARED} of {len(rows)} questions: {label} {sum(whole_hits.values()) / len(rows):.2f}, but {alone}"
        f"{' alone' * (len(parts) > 1)}{chance}; {best.part.remedy}"
    )


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


def _scores(rows: Sequence[RetrievalRow]) -> dict[str, Estimate]:
    scores: dict[str, Estimate] = {}
    for k in CUTOFFS:
        scores[f"recall@{k}"] = _mean([row.recall[f"recall@{k}"] for row in rows])
        scores[f"hit@{k}"] = _mean([float(_is_hit(row, k)) for row in rows])
    scores["mrr@10"] = _mean([1 / row.rank if row.rank else 0.0 for row in rows])
    return scores


def _is_hit(row: RetrievalRow, k: int) -> bool:
    return row.rank is not None and row.rank <= k


def _mean(values: list[float], bootstrap_samples: int = 2000) -> Estimate:
    """Return the mean and its 95% bootstrap interval. Both are None if `values` is empty."""
    if not values:
        return Estimate(value=None, interval=None)
    sample = np.asarray(values)
    means = np.random.default_rng(0).choice(sample, (bootstrap_samples, len(sample))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(value=round(float(sample.mean()), 4), interval=(round(float(low), 4), round(float(high), 4)))
