"""Jobs as command lines: what a GPU task runs, and what a task's log offers for pasting."""

from __future__ import annotations

from typing import Any


def pretrain_argv(job: dict[str, Any]) -> list[str]:
    """Train the demo's small base model from scratch on the clauses; skipped where a base model is given."""
    return ["pretrain", "--chunks", job["chunks"], "--out", job["uri"]]


def train_argv(job: dict[str, Any]) -> list[str]:
    """Train one QLoRA adapter; an interrupted training goes on from its last checkpoint."""
    settings = [word for setting in job["settings"] for word in ("--set", setting)]
    paths = ["--dataset", job["dataset"], "--base-model", job["base_model"], "--out", job["uri"]]
    return ["train", "--recipe", job["recipe"], *paths, *settings]


def evaluate_argv(job: dict[str, Any]) -> list[str]:
    """Let Base and every adapter answer the frozen questions from retrieved clauses, and compare them."""
    adapters = [word for name, path in job["adapters"].items() for word in ("--adapter", f"{name}={path}")]
    limit = ["--limit", str(job["limit"])] if job["limit"] else []
    paths = ["--questions", job["questions"], "--chunks", job["chunks"], "--base-model", job["base_model"]]
    return ["evaluate", *paths, *adapters, *limit, "--out", job["uri"]]
