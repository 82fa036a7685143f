"""The metrics that tasks send through Airflow's own statistics, which deliver them to StatsD or OpenTelemetry.

`[metrics]` in Airflow's configuration decides where they go. Without it, and on the command line, nothing is sent.
Labels never contain a secret: the label `key` is the name of the Airflow connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Literal

from airflow.sdk.observability import stats

from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.records import AdapterArtifact, DatasetArtifact, DecisionArtifact
from insurance_rag.core.records.usage import Usage

if TYPE_CHECKING:
    from insurance_rag.generation.live_usage import LiveUsage

PREFIX = "insurance_rag."
"""Beginning of every name. Airflow puts its own prefix, `airflow.` by default, before it."""


@dataclass(frozen=True)
class OperationMetric:
    """One metric. `docs/operations.md` lists all of them, which a test checks."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    description: str


REQUESTS = OperationMetric("requests", "counter", ("dag_id", "key"), "requests that were sent to the teacher")
REQUESTS_429 = OperationMetric("requests_429", "counter", ("dag_id", "key"), "requests that a quota rejected")
FAILED_REQUESTS = OperationMetric(
    "failed_requests", "counter", ("dag_id", "key"), "requests that ended in any other error"
)
TOKENS_IN = OperationMetric("tokens_in", "counter", ("dag_id", "key"), "input tokens, including batch mode")
TOKENS_OUT = OperationMetric("tokens_out", "counter", ("dag_id", "key"), "output tokens, including batch mode")
COST = OperationMetric(
    "cost_micro_usd", "counter", ("dag_id", "key"), "cost in millionths of a US dollar; 0 for a model without a price"
)
QUOTA_USE = OperationMetric(
    "quota_use",
    "gauge",
    ("dag_id", "key", "quota"),
    "used fraction of a known limit; `quota` is `requests` or `tokens` (per minute) or `day` (requests per day)",
)
CHUNKS_WAITING = OperationMetric("chunks_waiting", "gauge", ("dag_id", "key"), "chunks of the shard without an answer")
ROWS_ACCEPTED = OperationMetric("rows_accepted", "gauge", ("dag_id",), "rows in the newest validated dataset")
ROWS_REJECTED = OperationMetric(
    "rows_rejected", "gauge", ("dag_id", "reason"), "rows that a rule or a cap (`balance`) dropped from this dataset"
)
GPU_SECONDS = OperationMetric(
    "gpu_seconds", "counter", ("dag_id", "task_id"), "seconds that GPU jobs ran, whether or not they succeeded"
)
GPU_PEAK = OperationMetric(
    "gpu_peak_mib", "gauge", ("dag_id", "task_id", "recipe"), "peak memory of the newest training job in MiB"
)
DECISIONS = OperationMetric(
    "decisions", "counter", ("dag_id", "decision"), "decisions of the gate: `promote`, `refuse` or `cannot_tell`"
)

METRICS = (
    REQUESTS,
    REQUESTS_429,
    FAILED_REQUESTS,
    TOKENS_IN,
    TOKENS_OUT,
    COST,
    QUOTA_USE,
    CHUNKS_WAITING,
    ROWS_ACCEPTED,
    ROWS_REJECTED,
    GPU_SECONDS,
    GPU_PEAK,
    DECISIONS,
)


class UsageMetrics:
    """Sends the growth of a shard's usage. Earlier tries of the task have sent what was used before the first report.

    An instance is the `on_usage` of `generate_shard`.
    """

    def __init__(self, dag_id: str) -> None:
        self._dag_id = dag_id
        self._sent: dict[OperationMetric, int] | None = None

    def __call__(self, report: LiveUsage) -> None:
        """Send what was added since the last report."""
        labels = {"dag_id": self._dag_id, "key": report.key_id}
        counts = _counts(report.usage)
        before = counts if self._sent is None else self._sent
        for metric, count in counts.items():
            if count > before[metric]:
                _count(metric, count - before[metric], labels)
        self._sent = counts
        _measure(CHUNKS_WAITING, report.waiting, labels)
        for quota, used in report.quota_use.items():
            _measure(QUOTA_USE, round(used, 4), {**labels, "quota": quota})


def send_gpu_time(dag_id: str, task_id: str, seconds: float) -> None:
    """Count the seconds that a GPU job ran."""
    _count(GPU_SECONDS, round(seconds), {"dag_id": dag_id, "task_id": task_id})


@singledispatch
def send_result(result: object, dag_id: str, task_id: str) -> None:
    """Send the metrics that belong to the result of a task. Other results have none."""


@send_result.register
def _(result: DatasetArtifact, dag_id: str, task_id: str) -> None:
    report = DatasetFolder(local_path(result.uri)).read_report()
    _measure(ROWS_ACCEPTED, report.kept, {"dag_id": dag_id})
    for reason, rows in report.drops.items():
        _measure(ROWS_REJECTED, rows, {"dag_id": dag_id, "reason": reason})


@send_result.register
def _(result: AdapterArtifact, dag_id: str, task_id: str) -> None:
    labels = {"dag_id": dag_id, "task_id": task_id, "recipe": result.recipe}
    _measure(GPU_PEAK, round(result.peak_gib * 1024), labels)


@send_result.register
def _(result: DecisionArtifact, dag_id: str, task_id: str) -> None:
    _count(DECISIONS, 1, {"dag_id": dag_id, "decision": result.decision})


def _counts(usage: Usage) -> dict[OperationMetric, int]:
    return {
        REQUESTS: usage.calls,
        REQUESTS_429: usage.requests_429,
        FAILED_REQUESTS: usage.faults,
        TOKENS_IN: usage.tokens_in,
        TOKENS_OUT: usage.tokens_out,
        COST: round(usage.cost_usd * 1e6),
    }


def _count(metric: OperationMetric, n: int, labels: Mapping[str, str]) -> None:
    stats.incr(PREFIX + metric.name, n, tags=_tags(labels))


def _measure(metric: OperationMetric, value: float, labels: Mapping[str, str]) -> None:
    stats.gauge(PREFIX + metric.name, value, tags=_tags(labels))


def _tags(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels that every back end accepts. Airflow drops a metric whose label has other characters."""
    return {name: stats.normalize_name_for_stats(value, log_warning=False) for name, value in labels.items()}
