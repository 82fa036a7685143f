"""One embedded Airflow and one simulator for all tests that need a real Airflow, started once per session."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.sync_api import Page, sync_playwright
from pydantic import JsonValue
from tests.browser import chromium_path

from demo.services import Services
from insurance_rag.chunks import SAMPLE_CHUNKS, SAMPLE_QUESTIONS
from insurance_rag.core.files import read_jsonl, write_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.runs import folder_under

RUN_TIMEOUT_S = 400

T = TypeVar("T")

SLOW = 60_000
"""Timeout of a page in milliseconds: Airflow on a busy machine."""

#: Settings of a short run: a few training steps show as much of Airflow as many.
SMALL: dict[str, JsonValue] = {"question_limit": 8, "training": {"max_steps": 12}, "generation": {"repair": False}}


@dataclass
class Airflow:
    """A running Airflow and the requests that tests send to it."""

    api: AirflowApi
    services: Services

    def run(self, dag_id: str, conf: dict[str, JsonValue], *, wait: bool = True) -> str:
        """Start a run, wait for its end unless `wait` is False, and return its id."""
        run_id = self.api.trigger(dag_id, conf)
        if wait:
            self.wait(dag_id, run_id)
        return run_id

    def wait(self, dag_id: str, run_id: str, timeout_s: float = RUN_TIMEOUT_S) -> str:
        """Wait for the end of a run and return its state."""
        ends = {"success", "failed"}
        return self.wait_until(
            lambda: ends & {self.api.run_state(dag_id, run_id)},
            lambda: f"{run_id} has not ended: {self.states(dag_id, run_id)}",
            timeout_s,
        ).pop()

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return `task [label]` -> state."""
        return {
            i["task_id"] + (f" [{i['rendered_map_index']}]" if i["map_index"] >= 0 else ""): i["state"]
            for i in self.api.task_instances(dag_id, run_id)
        }

    def wait_for(self, dag_id: str, run_id: str, task_id: str, states: set[str], timeout_s: float = 150) -> None:
        """Wait until a task is in one of the states."""
        self.wait_until(
            lambda: self.states(dag_id, run_id).get(task_id) in states,
            lambda: self.explain(dag_id, run_id),
            timeout_s,
        )

    def wait_until(self, look: Callable[[], T], explain: Callable[[], str], timeout_s: float = 60) -> T:
        """Wait until the value of `look` is true, and return it. `explain` says what is wrong if it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not (value := look()):
            assert time.monotonic() < deadline, explain()
            time.sleep(1)
        return value

    def pause(self, dag_id: str, *, paused: bool = True) -> None:
        """Pause a DAG, or let it run again."""
        self.api.call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def decide(self, dag_id: str, run_id: str, choice: str) -> None:
        """Answer the task `approve` like a person: after a few seconds, and once more if it requests the answer again.

        Airflow 3.3 loses an answer that arrives before the scheduler knows that the task waits, for about a second
        (race condition apache/airflow#66374), and requests it again after the retry delay.
        """
        self.wait_for(dag_id, run_id, "approve", {"awaiting_input"})
        time.sleep(5)
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
        while self.states(dag_id, run_id)["approve"] != "success":
            self.api.call("PATCH", path, json={"chosen_options": [choice], "params_input": {}}, ok=(409,))
            self.wait_for(dag_id, run_id, "approve", {"success", "awaiting_input"})

    def put_key(self, conn_id: str, base_url: str, key: str) -> None:
        """Create or replace a connection of type gemini."""
        self.api.put_connection(conn_id, {"conn_type": "gemini", "host": base_url, "password": key})

    def folder(self, dag_id: str, run_id: str) -> RunFolder:
        """Return the folder of a run."""
        return folder_under(self.services.artifacts, dag_id, run_id)

    def explain(self, dag_id: str, run_id: str) -> str:
        """Return the ends of the logs of failed tasks, for the message of an assertion."""
        failed = [i for i in self.api.task_instances(dag_id, run_id) if i["state"] == "failed"]
        logs = [self.api.log(dag_id, run_id, i["task_id"], i["map_index"], i["try_number"])[-2000:] for i in failed]
        return "\n".join([str(self.states(dag_id, run_id)), *logs])

    def traceback_frames(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> list[str]:
        """Return the file names of all traceback frames in the log of the first try."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/1"
        content = self.api.call("GET", path, params={"map_index": map_index})["content"]
        errors = [error for entry in content for error in entry.get("error_detail") or []]
        return [str(frame["filename"]) for error in errors for frame in error["frames"]]


def write_sample_files(folder: Path, every: int, ending: str = "") -> dict[str, str]:
    """Write every n-th chunk of three products, with `ending` added, and the questions that they answer."""
    wanted = ("hanbit_cancer", "hanbit_female", "hanbit_again")
    chunks = [c for c in read_jsonl(SAMPLE_CHUNKS) if c["chunk_id"].startswith(wanted)][::every]
    ids = {c["chunk_id"] for c in chunks}
    questions = [q for q in read_jsonl(SAMPLE_QUESTIONS) if q["gold_chunk_ids"] and set(q["gold_chunk_ids"]) <= ids]
    paths = {"chunks": folder / "chunks.jsonl", "questions": folder / "questions.jsonl"}
    write_jsonl(paths["chunks"], [{**c, "text": c["text"] + ending} for c in chunks])
    write_jsonl(paths["questions"], questions)
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    root = tmp_path_factory.mktemp("airflow")
    os.environ.pop("AIRFLOW__CORE__UNIT_TEST_MODE", None)  # set by tests that import Airflow in this process
    os.environ.pop(
        "COVERAGE_PROCESS_CONFIG", None
    )  # the components are killed, so they could not save their coverage data
    services = Services(root / "home", root / "artifacts")
    try:
        yield Airflow(services.start(), services)
    finally:
        services.stop()


@pytest.fixture(scope="module")
def page(airflow: Airflow) -> Iterator[Page]:
    """A page of a user who logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US").new_page()
        page.set_default_timeout(SLOW)
        page.goto(airflow.services.url)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", airflow.services.password)
        page.click("button[type=submit]")
        page.get_by_role("button", name="Admin").wait_for()
        yield page
        browser.close()


@pytest.fixture(scope="session")
def finetune_run(airflow: Airflow) -> str:
    """Id of one complete run of `finetune_pipeline`, shared by all modules that look at its result."""
    run_id = airflow.run("finetune_pipeline", SMALL)
    assert airflow.api.run_state("finetune_pipeline", run_id) == "success", airflow.explain("finetune_pipeline", run_id)
    return run_id
