"""What the measurement of a retriever writes: scores over all questions, and one row per question."""

from __future__ import annotations

from insurance_rag.core.records.data import Record


class Estimate(Record):
    """A mean over the questions with its 95 % bootstrap interval; both are None if there is no question."""

    value: float | None
    interval: tuple[float, float] | None


class RetrievalRow(Record):
    """What the retriever found for one question."""

    question_id: str
    rank: int | None
    """Rank of the first gold chunk, from 1; None if it is not among the hits."""
    ms: float
    """Time of the search in milliseconds."""
    recall: dict[str, float]
    """"recall@k" -> share of the gold chunks among the first k hits."""
    chunk_ids: list[str]
    """The hits, best first."""


class RetrievalSummary(Record):
    """How often the retriever finds the gold chunks, over the questions that have any."""

    n: int
    """Questions with gold chunks."""
    scores: dict[str, Estimate]
    """"recall@k", "hit@k" and "mrr@10"."""
    query_ms: dict[str, float]
    """Percentile ("p50", "p95") -> time of a search in milliseconds."""


class RetrievalResult(RetrievalSummary):
    """`retrieval.json`: the summary with one row per question."""

    rows: list[RetrievalRow]

    @property
    def summary(self) -> RetrievalSummary:
        """The scores without the rows."""
        return RetrievalSummary(n=self.n, scores=self.scores, query_ms=self.query_ms)
