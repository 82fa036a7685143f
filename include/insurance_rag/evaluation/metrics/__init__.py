"""The evaluation metrics. To add one, add a module with a predicate decorated with `metric`."""

from __future__ import annotations

from insurance_rag.evaluation.metrics.registry import METRICS, metric, ordered_metrics

__all__ = ["METRICS", "metric", "ordered_metrics"]
