"""Where the artifacts of a DAG run lie: $ARTIFACT_ROOT/<dag id>/<run id>, for tasks, pods and the report tab alike."""

from __future__ import annotations

import os
import re
from pathlib import Path

from insurance_rag.core.run_folder import RunFolder


def artifact_root() -> Path:
    return Path(os.environ.get("ARTIFACT_ROOT") or "artifacts").resolve()


def run_folder(dag_id: str, run_id: str) -> RunFolder:
    """The folder of one DAG run. Ids come from requests too: whatever they hold, the folder stays under the root."""
    return folder_under(artifact_root(), dag_id, run_id)


def earlier_runs(run: RunFolder) -> list[RunFolder]:
    """Every other run under the same artifact root, newest first: what their journals hold is not asked for again."""
    plans = [plan for plan in run.root.parents[1].glob("*/*/plan.json") if plan.parent != run.root]
    return [RunFolder(plan.parent) for plan in sorted(plans, key=lambda plan: plan.stat().st_mtime, reverse=True)]


def folder_under(root: Path, dag_id: str, run_id: str) -> RunFolder:
    return RunFolder(root / _one_folder_name(dag_id) / _one_folder_name(run_id))


def _one_folder_name(identifier: str) -> str:
    """A single path component: no separator, never `.` or `..`."""
    return re.sub(r"[^\w.+-]", "_", identifier).lstrip(".") or "_"
