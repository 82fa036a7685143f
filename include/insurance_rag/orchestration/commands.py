"""Jobs as command lines of `insurance-rag`: what a GPU task runs, and what the log of a task offers for copying."""

from __future__ import annotations

import logging
import shlex
import sys

from insurance_rag.core.records.run import EvaluationJob, PretrainJob, TrainingJob

log = logging.getLogger(__name__)


def pretrain_argv(job: PretrainJob) -> list[str]:
    """Train the demo's small base model from scratch on the chunks. Skipped if the run names another base model."""
    return ["pretrain", "--chunks", job.chunks, "--out", job.uri]


def train_argv(job: TrainingJob) -> list[str]:
    """Train one QLoRA adapter. An interrupted training resumes from its last checkpoint."""
    settings = [word for setting in job.settings for word in ("--set", setting)]
    paths = ["--dataset", job.dataset, "--base-model", job.base_model, "--out", job.uri]
    return ["train", "--recipe", job.recipe, *paths, *settings]


def evaluate_argv(job: EvaluationJob) -> list[str]:
    """Answer the frozen questions with the base model and every adapter, from retrieved chunks, and compare them."""
    adapters = [word for name, path in job.adapters.items() for word in ("--adapter", f"{name}={path}")]
    limit = ["--limit", str(job.limit)] if job.limit else []
    paths = ["--questions", job.questions, "--chunks", job.chunks, "--base-model", job.base_model]
    return ["evaluate", *paths, *adapters, *limit, "--out", job.uri]


def log_command(*argv: str, python: str = sys.executable) -> None:
    """Log the command line that does the same work as the task."""
    log.info("The same by hand: %s", shlex.join([python, "-m", "insurance_rag", *argv]))
