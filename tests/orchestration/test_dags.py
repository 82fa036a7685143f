"""The DAG files as the DAG processor parses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ["torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "pandas", "kiwipiepy", "matplotlib"]
PARSE_LIMIT_S = 3.0
"""CPU time to parse all DAG files, with room for a busy machine: half of it is usual, of which 0.4 s import numpy."""

PARSE = """
import json, sys, time
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
started = time.process_time()
bag = DagBag(dag_folder=sys.argv[1])
seconds = time.process_time() - started
shape = {
    dag.dag_id: {
        "tasks": {t.task_id: sorted(t.upstream_task_ids) for t in dag.tasks},
        "undocumented": sorted(t.task_id for t in dag.tasks if not t.doc_md),
        "tags": sorted(dag.tags), "doc": bool(dag.doc_md), "owner": dag.owner,
        "roundtrip": DagSerialization.from_dict(DagSerialization.to_dict(dag)).dag_id == dag.dag_id,
    }
    for dag in bag.dags.values()
}
heavy = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
result = {"errors": bag.import_errors, "dags": shape, "seconds": seconds, "heavy": heavy}
print("RESULT " + json.dumps(result, default=str))
"""


class ParsedDag(TypedDict):
    """The facts about one DAG that the tests look at."""

    tasks: dict[str, list[str]]
    undocumented: list[str]
    tags: list[str]
    doc: bool
    owner: str
    roundtrip: bool


class Parsed(TypedDict):
    """What a fresh interpreter reports of all DAG files."""

    errors: dict[str, str]
    dags: dict[str, ParsedDag]
    seconds: float
    heavy: list[str]


def parse(**environment: str) -> Parsed:
    """Parse all DAG files in a fresh interpreter, as the DAG processor does."""
    command = [sys.executable, "-c", PARSE, str(ROOT / "dags"), json.dumps(HEAVY)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # slows it down
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**inherited, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result: Parsed = json.loads(line.removeprefix("RESULT "))
    return result


@pytest.fixture(scope="module")
def parsed() -> Parsed:
    return parse()


def test_every_dag_file_imports(parsed: Parsed) -> None:
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == {path.stem for path in (ROOT / "dags").glob("*.py")}


def test_parsing_is_fast_and_imports_nothing_heavy(parsed: Parsed) -> None:
    assert parsed["heavy"] == []
    assert parsed["seconds"] < PARSE_LIMIT_S


def test_shape_of_the_main_dag(parsed: Parsed) -> None:
    assert parsed["dags"]["finetune_pipeline"]["tasks"] == {
        "check_input": [],
        "ingest_documents": ["check_input"],
        "prepare_questions": ["check_input", "ingest_documents"],
        "plan": ["check_input", "prepare_questions"],
        "generate": ["plan"],
        "plan_redistributed": ["check_input", "generate"],
        "generate_redistributed": ["plan_redistributed"],
        "validate": ["check_input", "generate", "generate_redistributed"],
        "pretrain_jobs": ["check_input"],
        "pretrain": ["pretrain_jobs"],
        "training_jobs": ["check_input", "pretrain", "validate"],
        "train": ["training_jobs"],
        "evaluation_jobs": ["check_input", "pretrain", "train"],
        "evaluate": ["evaluation_jobs"],
        "promote": ["check_input", "evaluate", "train"],
        "report": ["check_input", "promote"],
    }


def test_every_dag_and_task_is_documented_and_owned(parsed: Parsed) -> None:
    for name, dag in parsed["dags"].items():
        assert dag["undocumented"] == [], f"{name}: tasks without documentation"
        assert dag["doc"] and dag["tags"] and dag["owner"] == "insurance-rag", name
        assert dag["roundtrip"], name


def test_invalid_pod_settings_do_not_hide_the_dags(parsed: Parsed) -> None:
    """`check_input` reports them when a run starts. The operator of a mapped task reads them where it runs."""
    with_pods = parse(GPU_BACKEND="kubernetes", GPU_POD_IMGE="a typo")
    assert with_pods["errors"] == {} and with_pods["heavy"] == []
    assert {name: dag["tasks"] for name, dag in with_pods["dags"].items()} == {
        name: dag["tasks"] for name, dag in parsed["dags"].items()
    }
