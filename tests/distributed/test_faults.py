"""One run of the whole pipeline, during which both workers and Redis are killed. It must end as if nothing happened."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.airflow.conftest import SMALL, Airflow
from tests.distributed.cluster import KEYS, Cluster
from tests.distributed.conftest import Store

from demo.services import Services
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.runs import folder_under

pytestmark = [pytest.mark.airflow, pytest.mark.long, pytest.mark.timeout(1800)]

DAG = "finetune_pipeline"

#: The settings of both runs. With several chunks per call, which chunks share a call would be a matter of time, and so
#: would the pairs that the simulator spoils. Checkpoints are frequent, so that a training can be killed soon.
CONF: dict[str, JsonValue] = {
    **SMALL,
    "keys": [*KEYS],
    "reuse_answers": False,
    "generation": {"repair": False, "chunks_per_call": 1},
    "training": {"max_steps": 40, "save_steps": 4},
}

DELIVERED_AT_KILL = 70
"""Number of answers, of about 200, after which the worker is killed."""
CALL = re.compile(rb'"(at|key_id)": "[^"]*"')
"""Where the metadata of a row says when and by which key it was generated."""
CHECKPOINT = re.compile(r"checkpoint-\d+/complete\.json$")


@dataclass(frozen=True)
class FaultyRun:
    """What happened during the run."""

    run_id: str
    folder: RunFolder
    """The run's artifacts, copied from the bucket after the run."""
    generating: list[str]
    """Command lines of the processes that were killed while they generated."""
    unrecorded: int
    """Answers that the server had delivered at that moment, and that were not yet in a journal."""
    training: list[str]
    """Command lines of the processes that were killed while they trained."""
    delivered: int
    """Answers that the server delivered during the whole run."""
    max_in_flight: int
    """Largest number of calls that the server had in progress at the same time."""


@pytest.fixture(scope="module")
def faulty_run(cluster: Cluster, store: Store) -> FaultyRun:
    before = cluster.delivered()
    run_id = cluster.airflow.run(DAG, CONF, wait=False)
    folder = folder_under(store.root, DAG, run_id)
    cluster.wait_until("a third of the answers", lambda: cluster.delivered() - before >= DELIVERED_AT_KILL)
    generating = cluster.lose("api-worker")
    unrecorded = cluster.delivered() - before - _recorded(store, folder)

    cluster.wait_until("the shards are running again", lambda: _is_repeated(cluster, run_id, "generate"))
    cluster.redis.kill()
    cluster.redis.start()

    cluster.wait_until("a checkpoint", lambda: any(CHECKPOINT.search(n) for n in store.names(folder.adapters)))
    training = cluster.lose("gpu-worker")
    cluster.wait_until("the end of the run", lambda: cluster.run_ended(DAG, run_id))
    copy = RunFolder(store.fetch(folder.root))
    delivered = cluster.delivered() - before
    return FaultyRun(run_id, copy, generating, unrecorded, training, delivered, cluster.requests()["max_in_flight"])


@pytest.fixture(scope="module")
def reference(faulty_run: FaultyRun, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a run in the embedded Airflow (SQLite, LocalExecutor) with the same base model, without faults."""
    root = tmp_path_factory.mktemp("embedded")
    services = Services(root / "home", root / "artifacts")
    try:
        airflow = Airflow(services.start(), services)
        base_model = shutil.copytree(faulty_run.folder.base_model, root / "base_model")
        run_id = airflow.run(DAG, {**CONF, "base_model": str(base_model)})
        assert airflow.api.run_state(DAG, run_id) == "success", airflow.explain(DAG, run_id)
        return airflow.folder(DAG, run_id)
    finally:
        services.stop()


def test_the_run_succeeds_although_both_workers_were_killed(faulty_run: FaultyRun, cluster: Cluster) -> None:
    run_id = faulty_run.run_id
    assert cluster.api.run_state(DAG, run_id) == "success", cluster.airflow.explain(DAG, run_id)
    assert any("airflow supervisor" in command for command in faulty_run.generating), faulty_run.generating
    assert any("insurance_rag train" in command for command in faulty_run.training), faulty_run.training
    assert cluster.processes.restarts["api-worker"] >= 1 <= cluster.processes.restarts["gpu-worker"]
    tasks = cluster.api.task_instances(DAG, run_id)
    repeated = {task["task_id"] for task in tasks if task["try_number"] > 1}
    assert {"generate", "train"} <= repeated
    queues = {task["task_id"]: task["queue"] for task in tasks}
    assert {name for name, queue in queues.items() if queue == "gpu"} == {"pretrain", "train", "evaluate"}


def test_nothing_is_lost_and_nothing_is_paid_twice_beyond_calls_in_flight(faulty_run: FaultyRun) -> None:
    """The simulator's record counts the answers, the journals say which of them were lost in the kill."""
    chunks = sum(1 for _ in read_jsonl(faulty_run.folder.chunks))
    assert _lines(faulty_run.folder) == chunks
    assert faulty_run.delivered - chunks <= faulty_run.unrecorded <= 2 * faulty_run.max_in_flight


def test_the_dataset_is_the_same_as_that_of_the_embedded_run(faulty_run: FaultyRun, reference: RunFolder) -> None:
    """All files with rows are equal byte for byte, apart from the time and the key of the call that made a row."""
    expected, found = (_row_files(run.dataset) for run in (reference, faulty_run.folder))
    assert len(expected) > 10 and expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []


def test_the_table_is_the_same_as_that_of_the_embedded_run(faulty_run: FaultyRun, reference: RunFolder) -> None:
    """On the CPU, a resumed training gives the same weights as an undisturbed one, so there is no noise."""
    weights = {name: path.read_bytes() for name, path in _weights(reference).items()}
    assert len(weights) == 2
    assert {name: path.read_bytes() for name, path in _weights(faulty_run.folder).items()} == weights
    expected, found = (read_json(run.evaluation / "summary.json")["models"] for run in (reference, faulty_run.folder))
    assert expected.keys() == found.keys() == {"Base", "v1", "v2"}
    for model in expected:
        for part in ("rates", "findings", "problems", "by_type"):
            assert found[model][part] == expected[model][part], (model, part)


def _row_files(dataset: Path) -> dict[str, bytes]:
    """Return the content of all files with rows of a dataset, without the time and the key of the calls."""
    names = ("train_dataset", "heldout", "rejects")
    paths = [path for path in sorted(dataset.rglob("*")) if path.name.startswith(names)]
    return {str(path.relative_to(dataset)): CALL.sub(b"", path.read_bytes()) for path in paths}


def _weights(run: RunFolder) -> dict[str, Path]:
    """Return the recipe of each adapter and the file with its weights."""
    return {
        path.parent.name.rpartition("lora")[2]: path
        for path in sorted(run.adapters.glob("*/adapter_model.safetensors"))
    }


def _recorded(store: Store, folder: RunFolder) -> int:
    """Return the number of answers in the journals of a run, as the bucket has them."""
    return _lines(RunFolder(store.fetch(folder.journal).parents[1]))


def _lines(folder: RunFolder) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.journal.glob("*.jsonl"))


def _is_repeated(cluster: Cluster, run_id: str, task_id: str) -> bool:
    """Return whether a task is running for the second time."""
    tasks = cluster.api.task_instances(DAG, run_id)
    return any(t["task_id"] == task_id and t["state"] == "running" and t["try_number"] == 2 for t in tasks)
