"""The definition of an evaluation metric. The summary, the promotion gate, the report and the reference docs share it.

The registry of metrics is in `insurance_rag.evaluation.metrics`. Some stages must not import the evaluation. They get
the registry by calling `insurance_rag.core.registry.registry("metric")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from insurance_rag.core.records.evaluation import MetricInfo, ScoredAnswer
from insurance_rag.core.records.statistics import Rate
from insurance_rag.core.stats import clustered_rate

Predicate = Callable[[ScoredAnswer], bool]

MIN_DOCUMENTS = 10
"""From this number of documents on, a document is a cluster. With fewer, there are too few clusters for intervals."""


def every_answer(row: ScoredAnswer) -> bool:
    """Select all answers. This is the population of metrics that apply to every question."""
    return True


def question_clusters(rows: Sequence[ScoredAnswer]) -> dict[str, str]:
    """Return a dict: question id -> cluster of the question. Questions in one cluster have correlated outcomes.

    If the questions with gold chunks are about at least `MIN_DOCUMENTS` documents, questions about one document form a
    cluster, otherwise questions with the same gold chunks. A question without gold chunks is a cluster of its own.
    """
    documents = {row.document for row in rows if row.gold_chunk_ids}
    by_document = len(documents) >= MIN_DOCUMENTS
    return {row.question_id: row.document if by_document else row.cluster for row in rows}


@dataclass(frozen=True)
class Metric:
    """A rate: the counted answers as a fraction of all answers in a population.

    The predicate `population` selects the answers in the population. The predicate `counted` selects the counted ones.
    """

    name: str
    title: str
    title_ko: str
    description: str
    """Which answers are counted, and out of which population."""
    better: Literal["lower", "higher"]
    counted: Predicate
    population: Predicate = every_answer
    compared: bool = False
    """Whether every pair of models is tested for a difference in this metric."""
    order: int = 1000
    """Sort key in tables and forms, lowest first. By default, metrics from plug-in packages come last."""

    @property
    def info(self) -> MetricInfo:
        """The fields of the definition that are copied into a summary."""
        return MetricInfo(
            title=self.title,
            title_ko=self.title_ko,
            description=self.description,
            better=self.better,
            compared=self.compared,
        )

    def rate(self, rows: Iterable[ScoredAnswer], confidence: float = 0.95) -> Rate:
        """Return the rate over those `rows` that belong to the population. The interval respects clusters."""
        own = [row for row in rows if self.population(row)]
        clusters = question_clusters(own)
        return clustered_rate(
            [self.counted(row) for row in own], [clusters[row.question_id] for row in own], confidence
        )

    def outcomes(self, rows: Iterable[ScoredAnswer]) -> dict[str, bool]:
        """Return a dict: question id -> whether the answer is counted. It covers the `rows` in the population."""
        return {row.question_id: self.counted(row) for row in rows if self.population(row)}
