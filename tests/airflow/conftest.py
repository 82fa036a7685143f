"""One embedded Airflow with one simulator for every test that needs a real one; started once a session."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.services import Services
from insurance_rag.chunks import SAMPLE_CHUNKS, SAMPLE_QUESTIONS
from insurance_rag.core.files import read_jsonl, write_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.runs import folder_under

RUN_TIMEOUT_S = 400

#: The whole path, short: a few steps of training show as much of Airflow as many.
SMALL = {"question_limit": 8, "training": {"max_steps": 12}, "generation": {"repair": False}}


@dataclass
class Airflow:
    """A running Airflow, and how a test speaks to it."""

    api: AirflowApi
    services: Services

    def run(self, dag_id: str, conf: dict[str, Any], *, wait: bool = True) -> str:
        run_id = self.api.trigger(dag_id, conf)
        if wait:
            self.wait(dag_id, run_id)
        return run_id

    def wait(self, dag_id: str, run_id: str, timeout_s: float = RUN_TIMEOUT_S) -> str:
        deadline = time.monotonic() + timeout_s
        while (state := self.api.run_state(dag_id, run_id)) not in ("success", "failed"):
            assert time.monotonic() < deadline, f"{run_id} still {state}: {self.states(dag_id, run_id)}"
            time.sleep(1)
        return state

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """`task [label]` -> state."""
        return {
            i["task_id"] + (f" [{i['rendered_map_index']}]" if i["map_index"] >= 0 else ""): i["state"]
            for i in self.api.task_instances(dag_id, run_id)
        }

    def wait_for(self, dag_id: str, run_id: str, task_id: str, states: set[str], timeout_s: float = 150) -> None:
        deadline = time.monotonic() + timeout_s
        while self.states(dag_id, run_id).get(task_id) not in states:
            assert time.monotonic() < deadline, self.explain(dag_id, run_id)
            time.sleep(1)

    def decide(self, dag_id: str, run_id: str, choice: str) -> None:
        """Answer the task `approve` as a person does: after a look, and again where it asks again.

        Airflow 3.3 loses an answer that comes before the scheduler has heard that the task waits, a second or so
        (the race of apache/airflow#66374), and asks again after the retry delay.
        """
        self.wait_for(dag_id, run_id, "approve", {"awaiting_input"})
        time.sleep(5)
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
        while self.states(dag_id, run_id)["approve"] != "success":
            self.api.call("PATCH", path, json={"chosen_options": [choice], "params_input": {}}, ok=(409,))
            self.wait_for(dag_id, run_id, "approve", {"success", "awaiting_input"})

    def put_key(self, conn_id: str, base_url: str, key: str) -> None:
        self.api.put_connection(conn_id, {"conn_type": "gemini", "host": base_url, "password": key})

    def folder(self, dag_id: str, run_id: str) -> RunFolder:
        return folder_under(self.services.artifacts, dag_id, run_id)

    def explain(self, dag_id: str, run_id: str) -> str:
        """The logs' ends of what failed, for an assertion's message."""
        failed = [i for i in self.api.task_instances(dag_id, run_id) if i["state"] == "failed"]
        logs = [self.api.log(dag_id, run_id, i["task_id"], i["map_index"], i["try_number"])[-2000:] for i in failed]
        return "\n".join([str(self.states(dag_id, run_id)), *logs])


def some_clauses(folder: Path, every: int, ending: str = "") -> dict[str, str]:
    """One in `every` of three products' clauses, each with `ending`, and the questions that they answer, as files."""
    wanted = ("hanbit_cancer", "hanbit_female", "hanbit_again")
    clauses = [c for c in read_jsonl(SAMPLE_CHUNKS) if c["chunk_id"].startswith(wanted)][::every]
    ids = {c["chunk_id"] for c in clauses}
    questions = [q for q in read_jsonl(SAMPLE_QUESTIONS) if q["gold_chunk_ids"] and set(q["gold_chunk_ids"]) <= ids]
    paths = {"chunks": folder / "clauses.jsonl", "questions": folder / "questions.jsonl"}
    write_jsonl(paths["chunks"], [{**c, "text": c["text"] + ending} for c in clauses])
    write_jsonl(paths["questions"], questions)
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    root = tmp_path_factory.mktemp("airflow")
    os.environ.pop("AIRFLOW__CORE__UNIT_TEST_MODE", None)  # of the tests that import Airflow in this process
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # killed at the end, the components would leave nothing measured
    services = Services(root / "home", root / "artifacts")
    try:
        yield Airflow(services.start(), services)
    finally:
        services.stop()


@pytest.fixture(scope="session")
def finetune_run(airflow: Airflow) -> str:
    """Run id of one whole `finetune_pipeline`, for every module that looks at its result."""
    run_id = airflow.run("finetune_pipeline", SMALL)
    assert airflow.api.run_state("finetune_pipeline", run_id) == "success", airflow.explain("finetune_pipeline", run_id)
    return run_id
