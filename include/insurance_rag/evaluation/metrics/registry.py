"""The registry of metrics. A metric is a predicate that is decorated with `metric`, in a module of this package."""

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
    """Return a decorator that registers a predicate as the counted outcome of a metric; see `Metric` for the fields.

    Raises ValueError if another metric has the name.
    """

    def register(counted: Predicate) -> Predicate:
        METRICS.add(name, Metric(name, title, title_ko, description, better, counted, population, compared, order))
        return counted

    return register


def ordered_metrics() -> list[Metric]:
    """Return all metrics in display order."""
    return sorted(METRICS.entries.values(), key=lambda entry: entry.order)
