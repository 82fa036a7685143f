"""Locates the folder of a DAG run, $ARTIFACT_ROOT/<dag id>/<run id>, for tasks, pods and the report tab."""

from __future__ import annotations

import os
import re
from pathlib import Path

from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.run_folder import RunFolder


def artifact_root() -> Path:
    """Return $ARTIFACT_ROOT as an absolute path, by default `artifacts` in the working directory.

    For the URI of an object store, this is the path of its local copy. Raises InvalidInputError for an invalid URI.
    """
    return local_path(os.environ.get("ARTIFACT_ROOT") or "artifacts").resolve()


def reviews_folder() -> Path:
    """Return the folder with the journals of review decisions, which all runs share."""
    return artifact_root() / "reviews"


def run_folder(dag_id: str, run_id: str) -> RunFolder:
    """Return the folder of a DAG run. It is always under the artifact root, even if the ids come from a request."""
    return folder_under(artifact_root(), dag_id, run_id)


def earlier_runs(run: RunFolder) -> list[RunFolder]:
    """Return the other runs under the same artifact root, newest first. Runs without a plan are omitted."""
    plans = [plan for plan in run.root.parents[1].glob("*/*/plan.json") if plan.parent != run.root]
    return [RunFolder(plan.parent) for plan in sorted(plans, key=lambda plan: plan.stat().st_mtime, reverse=True)]


def folder_under(root: Path, dag_id: str, run_id: str) -> RunFolder:
    """Return the folder of a DAG run under `root`."""
    return RunFolder(root / _one_folder_name(dag_id) / _one_folder_name(run_id))


def _one_folder_name(identifier: str) -> str:
    """Turn `identifier` into a single path component that contains no separator and is neither `.` nor `..`."""
    return re.sub(r"[^\w.+-]", "_", identifier).lstrip(".") or "_"
