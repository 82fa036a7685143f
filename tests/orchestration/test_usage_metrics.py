"""How the usage of a shard becomes metrics."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from tests.fakes.metrics_receivers import Received, running_statsd

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.usage import Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_shard
from insurance_rag.generation.live_usage import REPORT_INTERVAL_S, LiveUsage
from insurance_rag.orchestration.operation_metrics import UsageMetrics
from insurance_rag.planning import make_plan, write_plan


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """A StatsD server that gets the metrics of this process, as it gets those of a task process."""
    with running_statsd() as received:
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(received.port))
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        yield received
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


def report(calls: int, key: str = "k1") -> LiveUsage:
    return LiveUsage(key, Usage(calls=calls, cost_usd=calls / 1e5), waiting=10 - calls, quota_use={"day": calls / 20})


def wait_for(received: Received, name: str, n: int) -> None:
    deadline = time.monotonic() + 10
    while len(received.named(name)) < n:
        assert time.monotonic() < deadline, received.samples
        time.sleep(0.02)


def test_a_retry_counts_only_what_it_uses_itself(statsd: Received) -> None:
    first = UsageMetrics("dag")
    for calls in (0, 2, 5):
        first(report(calls))
    retry = UsageMetrics("dag")
    for calls in (5, 6):
        retry(report(calls))
    wait_for(statsd, "chunks_waiting", 5)
    assert statsd.total("requests", key="k1", dag_id="dag") == 6
    assert statsd.total("cost_micro_usd") == 60
    assert [sample.value for sample in statsd.named("quota_use")] == [0, 0.1, 0.25, 0.25, 0.3]


def test_a_label_that_no_server_accepts_does_not_lose_the_metric(statsd: Received) -> None:
    UsageMetrics("dag")(report(1, key="team a,b=키"))
    wait_for(statsd, "chunks_waiting", 1)
    assert statsd.named("chunks_waiting")[0].labels["key"] == "team_a_b__"


def test_a_shard_reports_at_most_once_per_second(tmp_path: Path) -> None:
    reports: list[tuple[float, LiveUsage]] = []
    with running_simulator(speed=60, defects=0, latency_s=10) as simulator:
        config = GenerationConfig(base_url=simulator.url, quota_window_s=simulator.window_s, chunks_per_call=1)
        run, chunks = RunFolder(tmp_path / "run").create(), read_chunks("sample")[:40]
        key = ApiKey.model_validate({"id": "k1", "key": "secret", "rpm": 900})
        write_plan(make_plan(chunks, [key], config), run, chunks)
        part = generate_shard(run, 1, key, config, on_usage=lambda usage: reports.append((time.monotonic(), usage)))
    times = [at for at, _ in reports]
    assert all(after - before >= REPORT_INTERVAL_S for before, after in itertools.pairwise(times[:-1]))
    assert len(reports) >= 2
    (_, first), (_, last) = reports[0], reports[-1]
    assert (first.usage.calls, first.waiting) == (0, 40)
    assert (last.usage.calls, last.usage.tokens_in, last.waiting) == (part.calls, part.tokens_in, 0)
    assert 0 < last.quota_use["requests"] <= 1
