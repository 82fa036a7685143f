"""One embedded Airflow with one simulator for every test that needs a real one; started once a session."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from insurance_rag.artifacts import RunFolder
from insurance_rag.orchestration.embedded.api import AirflowApi
from insurance_rag.orchestration.embedded.services import Services
from insurance_rag.orchestration.runs import folder_under

RUN_TIMEOUT_S = 400

#: The whole path, short: a few steps of training show as much of Airflow as many.
SMALL = {"question_limit": 8, "training": {"max_steps": 12}, "generation": {"mend": False}}


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

    def folder(self, dag_id: str, run_id: str) -> RunFolder:
        return folder_under(self.services.artifacts, dag_id, run_id)

    def explain(self, dag_id: str, run_id: str) -> str:
        """The logs' ends of what failed, for an assertion's message."""
        failed = [i for i in self.api.task_instances(dag_id, run_id) if i["state"] == "failed"]
        logs = [self.api.log(dag_id, run_id, i["task_id"], i["map_index"], i["try_number"])[-2000:] for i in failed]
        return "\n".join([str(self.states(dag_id, run_id)), *logs])


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    root = tmp_path_factory.mktemp("airflow")
    os.environ.pop("AIRFLOW__CORE__UNIT_TEST_MODE", None)  # of the tests that import Airflow in this process
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
