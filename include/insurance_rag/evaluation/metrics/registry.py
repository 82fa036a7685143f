"""The registry of metrics. A metric is defined by a predicate decorated with `metric` in any module of this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from insurance_rag.core.metrics import Metric, Predicate, every_answer
from insurance_rag.core.registry import Registry

METRICS: Registry[Metric] = Registry("metric", "insurance_rag.evaluation.metrics")


def metric(
    name: str,
    *,
    title: str,
    title_ko: str,
    description: str,
    better: Literal["lower", "higher"],
    population: Predicate = every_answer,
    compared: bool = False,
    order: int = 1000,
) -> Callable[[Predicate], Predicate]:
    """Return a decorator that registers a metric. The decorated predicate selects the answers that the metric counts.

    See `Metric` for the parameters. The decorator raises ValueError if the name is taken.
    """

    def register(counted: Predicate) -> Predicate:
        METRICS.add(name, Metric(name, title, title_ko, description, better, counted, population, compared, order))
        return counted

    return register


def ordered_metrics() -> list[Metric]:
    """Return all metrics in display order."""
    return sorted(METRICS.entries.values(), key=lambda entry: entry.order)
