"""Build the command lines of GPU tasks, and log command lines with which a person can repeat the work of a task.

Airflow shows the docstring of each `*_argv` function as the documentation of the task that runs the command.
"""

from __future__ import annotations

import logging
import shlex
import sys

from insurance_rag.core.artifact_store.locations import public_text
from insurance_rag.core.records.run import EvaluationJob, PretrainJob, TrainingJob

log = logging.getLogger(__name__)


def pretrain_argv(job: PretrainJob) -> list[str]:
    """Command that trains the demo's small base model from scratch. The task is skipped for any other base model."""
    return ["pretrain", "--chunks", job.chunks, "--out", job.uri]


def train_argv(job: TrainingJob) -> list[str]:
    """Command that trains one QLoRA adapter. An interrupted training run resumes from its last checkpoint."""
    settings = [word for setting in job.settings for word in ("--set", setting)]
    paths = ["--dataset", job.dataset, "--base-model", job.base_model, "--out", job.uri]
    return ["train", "--recipe", job.recipe, *paths, *settings]


def evaluate_argv(job: EvaluationJob) -> list[str]:
    """Command that answers the evaluation questions with the base model and every adapter, and compares them."""
    adapters = [word for name, path in job.adapters.items() for word in ("--adapter", f"{name}={path}")]
    limit = ["--limit", str(job.limit)] if job.limit else []
    paths = ["--questions", job.questions, "--chunks", job.chunks, "--base-model", job.base_model]
    return ["evaluate", *paths, *adapters, *limit, *job.settings, "--out", job.uri]


def log_command(*argv: str, python: str = sys.executable) -> None:
    """Log the `insurance-rag` command with which a person can repeat the work of the task."""
    log.info("Equivalent command: %s", public_text(shlex.join([python, "-m", "insurance_rag", *argv])))
