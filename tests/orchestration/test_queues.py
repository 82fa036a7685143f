"""Celery queues: GPU tasks and all others have separate queues if environment variables name them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PRINT_QUEUES = """
import json, finetune_pipeline
dag = finetune_pipeline.finetune_pipeline()
print(json.dumps({task.task_id: task.queue for task in dag.tasks}))
"""


def queues(tmp_path: Path, **variables: str) -> dict[str, str]:
    """Return the queue of each task of `finetune_pipeline` as the DAG processor sees it."""
    env = {name: value for name, value in os.environ.items() if name not in ("API_QUEUE", "GPU_QUEUE")}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_QUEUES], cwd=PROJECT / "dags", capture_output=True, text=True, check=True,
        env={**env, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT / "include"), **variables},
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_gpu_work_and_api_work_have_separate_queues(tmp_path: Path) -> None:
    found = queues(tmp_path, API_QUEUE="api", GPU_QUEUE="gpu")
    assert {task for task, queue in found.items() if queue == "gpu"} == {"pretrain", "train", "evaluate"}
    assert {queue for task, queue in found.items() if task not in ("pretrain", "train", "evaluate")} == {"api"}


def test_without_the_variables_all_tasks_have_the_default_queue(tmp_path: Path) -> None:
    assert set(queues(tmp_path).values()) == {"default"}
