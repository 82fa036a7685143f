"""The metrics of the evaluation. Add one by adding a module with a predicate that is decorated with `metric`."""

from __future__ import annotations

from insurance_rag.evaluation.metrics.registry import METRICS, metric, ordered_metrics

__all__ = ["METRICS", "metric", "ordered_metrics"]
