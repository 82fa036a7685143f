"""One DAG run of mapped pods in a real Airflow, with its rendering, XCom, retry policy and state store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.kubernetes_api import running_kubernetes

from insurance_rag.core.files import write_json

DAG_FILE = '''
import json, os, pathlib
from airflow.sdk import TriggerRule, dag, task
from pydantic import BaseModel
from insurance_rag.orchestration.gpu_job import gpu_job
from insurance_rag.orchestration.settings import DAG_DEFAULTS

WORK = pathlib.Path(os.environ["ARTIFACT_ROOT"])

class PlanJob(BaseModel):
    chunks: str
    out: str

def plan_argv(job: PlanJob):
    """Plan."""
    paths = ["--chunks", job.chunks, "--keys", str(WORK / "keys.json"), "--out", str(WORK / job.out)]
    return ["plan", *paths, "--model", job.out]

@dag(schedule=None, **DAG_DEFAULTS)
def pods():
    @task
    def jobs():
        return [{"chunks": "sample", "out": "60"}, {"chunks": "missing.jsonl", "out": "b"}]

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def collect(results):
        (WORK / "results.json").write_text(json.dumps(results[:]))

    collect(gpu_job("train", jobs(), plan_argv, label="plan of {{ task.arguments[2] }}"))

pods()
'''

RUN = """
import json, os
from airflow.utils.db import initdb
from airflow.dag_processing.dagbag import DagBag

initdb()
run = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags["pods"].test()
instances = {
    f"{ti.task_id}[{ti.map_index}]": [ti.state, ti.try_number, ti.rendered_map_index] for ti in run.get_task_instances()
}
print("RESULT " + json.dumps(instances))
"""


@pytest.mark.airflow
def test_mapped_pods_return_results_and_invalid_input_is_not_retried(tmp_path: Path) -> None:
    for folder in ("cluster", "dags", "artifacts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dags" / "pods.py").write_text(DAG_FILE)
    write_json(tmp_path / "artifacts" / "keys.json", [{"id": "k1", "key": "secret"}])
    with running_kubernetes(tmp_path / "cluster") as cluster:
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(cluster.kubeconfig)}}
        instances = run_dag({
            "AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection),
            "ARTIFACT_ROOT": str(tmp_path / "artifacts"), "GPU_BACKEND": "kubernetes", "GPU_POD_NAMESPACE": "default",
            "GPU_POD_ARTIFACTS_CLAIM": "artifacts", "GPU_POD_DEFERRABLE": "true", "GPU_POD_POLL_S": "1",
        })  # fmt: skip
    assert instances["train[0]"] == ["success", 1, "plan of sample"]
    assert instances["train[1]"] == ["failed", 1, "plan of missing.jsonl"]
    (result,) = json.loads((tmp_path / "artifacts" / "results.json").read_text())
    assert Path(result["uri"]).parent == tmp_path / "artifacts" / "60"
    assert len(cluster.created) == 2 and not cluster.pods
    # The arguments are not rendered as templates: native rendering would turn "60" into a number.
    assert all(isinstance(word, str) for pod in cluster.created for word in pod["spec"]["containers"][0]["args"])


def run_dag(environment: dict[str, str]) -> dict[str, list[str | int]]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, env={**given, **environment}, timeout=240
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    assert line, done.stdout[-4000:] + done.stderr[-2000:]
    return dict(json.loads(line.removeprefix("RESULT ")))
