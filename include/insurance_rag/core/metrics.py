"""The definition of an evaluation metric: the one that summary, promotion gate, report and reference docs share.

The registry of metrics is `insurance_rag.evaluation.metrics`; `insurance_rag.core.registry.registry("metric")` returns
it to stages that must not import the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from insurance_rag.core.records.evaluation import MetricInfo, Rate, ScoredAnswer
from insurance_rag.core.stats import rate

Predicate = Callable[[ScoredAnswer], bool]


def every_answer(row: ScoredAnswer) -> bool:
    """Select all answers: the population of metrics that apply to every question."""
    return True


@dataclass(frozen=True)
class Metric:
    """A rate: the share of a population of answers that a predicate counts."""

    name: str
    title: str
    title_ko: str
    description: str
    """What is counted, among which answers."""
    better: Literal["lower", "higher"]
    counted: Predicate
    population: Predicate = every_answer
    compared: bool = False
    """Whether every two models are tested against each other in this metric."""
    order: int = 1000
    """Position in tables and forms, ascending. Metrics of other distributions come last by default."""

    @property
    def info(self) -> MetricInfo:
        """The part of the definition that is written into a summary."""
        return MetricInfo(
            title=self.title,
            title_ko=self.title_ko,
            description=self.description,
            better=self.better,
            compared=self.compared,
        )

    def rate(self, rows: Iterable[ScoredAnswer]) -> Rate:
        """Return the rate among those of `rows` that belong to the population."""
        outcomes = [self.counted(row) for row in rows if self.population(row)]
        return rate(sum(outcomes), len(outcomes))

    def outcomes(self, rows: Iterable[ScoredAnswer]) -> dict[str, bool]:
        """Return question id -> whether the answer is counted, for the rows that belong to the population."""
        return {row.question_id: self.counted(row) for row in rows if self.population(row)}
