"""Records that a measurement of the retriever writes: scores over all questions, and one row per question."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.data import Record


class Estimate(Record):
    """A mean over questions with its 95 % bootstrap interval. Both fields are None if there are no questions."""

    value: float | None
    interval: tuple[float, float] | None


class RetrievalRow(Record):
    """What the retriever found for one question."""

    question_id: str
    rank: int | None
    """Rank of the first gold chunk, starting at 1; None if no gold chunk is among the hits."""
    ms: float
    """Duration of the search in milliseconds."""
    recall: dict[str, float]
    """"recall@k" -> fraction of the gold chunks that are among the first k hits."""
    chunk_ids: list[str]
    """Ids of the hits, best first."""


class RetrievalSummary(Record):
    """How well the retriever finds the gold chunks. Questions without gold chunks are not counted."""

    n: int
    """Number of questions that have gold chunks."""
    scores: dict[str, Estimate]
    """"recall@k", "hit@k" or "mrr@10" -> mean over the questions."""
    query_ms: dict[str, float]
    """Percentile ("p50", "p95") -> duration of a search in milliseconds."""
    parts: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    """Part of the retriever -> its scores when it searches alone: `bm25` and `dense` of a hybrid retriever, and
    `without reranker` if there is a reranker."""
    warnings: list[str] = Field(default_factory=list)
    """A message for each combination that finds fewer gold chunks than one of its parts alone."""


class RetrievalResult(RetrievalSummary):
    """`retrieval.json`: the summary and one row per question."""

    rows: list[RetrievalRow]

    @property
    def summary(self) -> RetrievalSummary:
        """The scores without the rows."""
        return RetrievalSummary(**{name: getattr(self, name) for name in RetrievalSummary.model_fields})
