"""Lineage, metrics and asset events of real tasks, as the servers of an operations team receive them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.airflow.conftest import write_sample_files
from tests.fakes.metrics_receivers import Received, running_otlp, running_statsd
from tests.fakes.openlineage import event_problems, read_events

from gemini_simulator import running_simulator
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
KEYS = ("k1", "k2")
SECRET = "planted-secret"

#: A second DAG: a GPU job and a decision of the gate, without training anything.
DAG_FILE = '''
from pathlib import Path
from airflow.sdk import dag
from pydantic import BaseModel
from insurance_rag.core.artifacts import describe
from insurance_rag.core.records import DecisionArtifact
from insurance_rag.orchestration.gpu_job import gpu_job
from insurance_rag.orchestration.settings import DAG_DEFAULTS
from insurance_rag.orchestration.task_groups import as_task

class Job(BaseModel):
    uri: str

def jobs() -> list[Job]:
    """Jobs."""
    return [Job(uri="unused")]

def plan_argv(job: Job) -> list[str]:
    """Command that plans a run."""
    return ["plan", "--chunks", "sample", "--keys", "KEYS", "--out", "OUT"]

def decide() -> DecisionArtifact:
    """Decide."""
    facts = {"decision": "refuse", "model": "v2", "champion": "Base", "reason": "no better"}
    return describe(Path("KEYS"), DecisionArtifact, **facts)

@dag(schedule=None, **DAG_DEFAULTS)
def small():
    gpu_job("train", as_task(jobs)(), plan_argv, label="job") >> as_task(decide)()

small()
'''

RUN = """
import json, os
from airflow.dag_processing.dagbag import DagBag
from airflow.models import Pool
from airflow.models.asset import AssetEvent
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from airflow.utils.db import initdb
from airflow.utils.session import create_session

def run(dag_id, conf, metrics):
    os.environ.update(metrics)
    # Airflow's task runner does the same in every task process.
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    dag = bag.dags[dag_id]
    dag.deadline = []  # Airflow 3.3 cannot test a DAG with a deadline
    return dag.test(run_conf=conf)

initdb()
bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
with create_session() as session:
    session.add_all(Pool(pool=name, slots=4, include_deferred=False) for name in ("gemini", "gpu"))
runs = [run(**json.loads(text)) for text in json.loads(os.environ["RUNS"])]
with create_session() as session:
    events = [[e.asset.name, e.asset.uri, e.extra] for e in session.query(AssetEvent)]
states = [{f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in run.get_task_instances()} for run in runs]
assets = {
    f"{dag.dag_id}.{task.task_id}": [[asset.name for asset in task.inlets], [asset.name for asset in task.outlets]]
    for dag in bag.dags.values() for task in dag.tasks if task.inlets or task.outlets
}
print("RESULT " + json.dumps({"assets": assets, "states": states, "events": events}, default=str))
"""


@dataclass(frozen=True)
class Operations:
    """What the servers received about one run of `refresh_dataset` and one of the second DAG."""

    artifacts: Path
    run: RunFolder
    asset_events: dict[str, tuple[str, dict[str, Any]]]
    assets: dict[str, list[list[str]]]
    """Task -> its inlets and its outlets, in all DAG files."""
    lineage: list[dict[str, Any]]
    statsd: Received
    otlp: Received
    calls: int

    def complete(self, task_id: str) -> dict[str, Any]:
        """Return the event about the end of a task of `refresh_dataset`."""
        name = f"refresh_dataset.{task_id}"
        found = [e for e in self.lineage if e["job"]["name"] == name and e["eventType"] == "COMPLETE"]
        assert found, f"no event about {task_id}"
        return found[-1]


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operations]:
    tmp = tmp_path_factory.mktemp("operations")
    paths = write_sample_files(tmp, every=9)
    (tmp / "keys.json").write_text('[{"id": "k1", "key": "planted-secret"}]')
    (tmp / "dags").mkdir()
    small = DAG_FILE.replace("KEYS", str(tmp / "keys.json")).replace("OUT", str(tmp / "plan"))
    (tmp / "dags" / "small.py").write_text(small)
    for file in (ROOT / "dags").glob("*.py"):
        shutil.copy(file, tmp / "dags")
    slow_python = tmp / "slow_python"  # so that the GPU job takes at least a second
    slow_python.write_text(f'#!/bin/sh\nsleep 1\nexec {sys.executable} "$@"\n')
    slow_python.chmod(0o755)
    with running_simulator(speed=600, defects=0.2) as simulator, running_statsd() as statsd, running_otlp() as otlp:
        conf = {**paths, "keys": [*KEYS], "generation": {"quota_window_s": simulator.window_s}, "approve": False}
        to_statsd = {"AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port)}
        to_otlp = {"AIRFLOW__METRICS__STATSD_ON": "False", "AIRFLOW__METRICS__OTEL_ON": "True"}
        runs = [
            {"dag_id": "refresh_dataset", "conf": conf, "metrics": to_statsd},
            {"dag_id": "small", "conf": {}, "metrics": to_otlp},
        ]
        result = run_dags({
            **{f"AIRFLOW_CONN_{key.upper()}": connection(simulator.url, key) for key in KEYS},
            "AIRFLOW_HOME": str(tmp / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(tmp / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({
                "type": "file", "log_file_path": str(tmp / "events.jsonl"), "append": True
            }),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{otlp.port}",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "ARTIFACT_ROOT": str(tmp / "artifacts"),
            "GPU_PYTHON": str(slow_python),
            "PYTHONPATH": str(ROOT / "include"),
            "RUNS": json.dumps([json.dumps(run) for run in runs]),
        })  # fmt: skip
        calls = simulator.stats()["calls"]
    assert {state for states in result["states"] for state in states.values()} <= {"success", "skipped"}, result[
        "reasons"
    ]
    events = {name: (uri, extra) for name, uri, extra in result["events"]}
    run = RunFolder(next((tmp / "artifacts" / "refresh_dataset").iterdir()))
    lineage = read_events(tmp / "events.jsonl")
    yield Operations(tmp / "artifacts", run, events, result["assets"], lineage, statsd, otlp, calls)


def connection(url: str, name: str) -> str:
    return json.dumps(
        {"conn_type": "gemini", "host": url, "password": f"{SECRET}-{name}", "extra": {"rpm": 15, "rpd": 1000}}
    )


def run_dags(environment: dict[str, str]) -> dict[str, Any]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, env={**given, **environment}, timeout=500
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    assert line, done.stdout[-6000:] + done.stderr[-3000:]
    reasons = [line for line in done.stdout.splitlines() if line.startswith("why:")]
    return {**json.loads(line.removeprefix("RESULT ")), "reasons": reasons}


def test_every_event_follows_the_schemas(operations: Operations) -> None:
    assert [problem for event in operations.lineage for problem in event_problems(event)] == []
    assert SECRET not in json.dumps(operations.lineage)


def test_the_dataset_can_be_followed_back_to_the_chunks(operations: Operations) -> None:
    """Each task reads what an earlier one wrote."""
    written = {"generate": "plan", "validate": "generate", "publish": "validate"}
    for reader, writer in written.items():
        read = {(d["namespace"], d["name"]) for d in operations.complete(reader)["inputs"]}
        assert read & {(d["namespace"], d["name"]) for d in operations.complete(writer)["outputs"]}, reader
    published = {d["name"] for d in operations.complete("publish")["outputs"]}
    assert published == {str(operations.artifacts / "published" / "qa_dataset.json")}


def test_the_lineage_has_rows_schema_quality_and_cost(operations: Operations) -> None:
    report = DatasetFolder(operations.run.dataset).read_report()
    (dataset,) = operations.complete("validate")["outputs"]
    found = dataset["facets"]["insuranceRag_validation"]
    assert (found["rows"], found["accepted"], found["rejected"]) == (report.rows, report.kept, report.drops)
    assert dataset["outputFacets"]["outputStatistics"]["rowCount"] == report.kept
    assert {"prompt", "completion"} <= {field["name"] for field in dataset["facets"]["schema"]["fields"]}
    assertions = operations.complete("validate")["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {a["assertion"] for a in assertions if not a["success"]} == {r for r, n in report.drops.items() if n}
    usage = read_record(operations.run.usage, RunUsage, "usage", "")
    costs = [
        event["run"]["facets"]["insuranceRag_usage"]
        for event in operations.lineage
        if event["job"]["name"] == "refresh_dataset.generate" and event["eventType"] == "COMPLETE"
    ]
    assert sum(cost["tokensIn"] for cost in costs) == usage.total.tokens_in
    assert sum(cost["costUsd"] for cost in costs) == pytest.approx(usage.total.cost_usd)
    assert {cost["model"] for cost in costs} == {usage.model}


def test_the_asset_graph_leads_from_chunks_to_the_decision(operations: Operations) -> None:
    assert operations.assets == {
        "finetune_pipeline.ingest_documents": [[], ["chunks"]],
        "finetune_pipeline.plan": [["chunks"], []],
        "finetune_pipeline.train": [["qa_dataset"], []],
        "finetune_pipeline.evaluate": [["chunks", "question_set"], []],
        "finetune_pipeline.promote": [[], ["adapters", "decision"]],
        "refresh_dataset.ingest_documents": [[], ["chunks"]],
        "refresh_dataset.plan": [["chunks"], []],
        "refresh_dataset.publish": [["chunks"], ["qa_dataset"]],
        "make_questions.ingest_documents": [[], ["chunks"]],
        "make_questions.make_questions": [["chunks"], []],
        "make_questions.publish_question_set": [[], ["question_set"]],
        "evaluate_models.evaluate": [["adapters", "chunks", "question_set"], []],
        "evaluate_models.promote": [[], ["decision"]],
    }


def test_asset_events_have_rows_hashes_and_cost(operations: Operations) -> None:
    assert set(operations.asset_events) == {"chunks", "qa_dataset"}
    for uri, extra in operations.asset_events.values():
        record = json.loads(Path(uri.removeprefix("file://")).read_text())
        assert record.items() <= extra.items() and len(extra["sha256"]) == 64 and extra["rows"] > 0
    usage = read_record(operations.run.usage, RunUsage, "usage", "")
    published = operations.asset_events["qa_dataset"][1]
    assert published["cost_usd"] == usage.total.cost_usd > 0 and published["calls"] == usage.total.calls
    assert published["kept"] + published["rejected"] == published["rows"]


def test_statsd_gets_usage_quota_and_rows(operations: Operations) -> None:
    got, usage = operations.statsd, read_record(operations.run.usage, RunUsage, "usage", "")
    for key in KEYS:
        spent = usage.keys[key]
        assert got.total("requests", key=key, dag_id="refresh_dataset") == spent.calls > 0
        assert got.total("tokens_in", key=key) == spent.tokens_in
        assert got.total("cost_micro_usd", key=key) == pytest.approx(spent.cost_usd * 1e6, abs=5)
        assert [s.value for s in got.named("chunks_waiting") if s.labels["key"] == key][-1] == 0
    assert got.total("requests") == operations.calls
    used = {sample.labels["quota"]: sample.value for sample in got.named("quota_use")}
    assert set(used) == {"requests", "day"} and 0 < used["day"] < 0.1
    report = DatasetFolder(operations.run.dataset).read_report()
    assert got.named("rows_accepted")[-1].value == report.kept
    assert {s.labels["reason"]: s.value for s in got.named("rows_rejected")} == report.drops
    assert SECRET not in repr(got.samples)


def test_opentelemetry_gets_gpu_time_and_decisions(operations: Operations) -> None:
    (decision,) = operations.otlp.named("decisions")
    assert (decision.kind, decision.value) == ("sum", 1)
    assert decision.labels == {"dag_id": "small", "decision": "refuse"}
    (gpu,) = operations.otlp.named("gpu_seconds")
    assert gpu.value >= 1 and gpu.labels == {"dag_id": "small", "task_id": "train"}
    assert not operations.otlp.named("requests")
