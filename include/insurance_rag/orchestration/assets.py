"""What the DAGs hand to each other: the published dataset and the trained adapters.

An event is emitted once, by the task that publishes, never for a partial dataset and never where nothing changed.
The pointer file says what is published now; a kill between pointer and event repeats the event, not the pointer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import Asset

from insurance_rag.core.files import read_json, write_json
from insurance_rag.orchestration.runs import artifact_root

QA_DATASET = Asset("qa_dataset")
ADAPTERS = Asset("adapters")


def published_dataset() -> dict[str, Any] | None:
    """`{uri, sha256, rows, run}` of the dataset that is published now."""
    return dict(read_json(_pointer())) if _pointer().is_file() else None


def published_report() -> Path | None:
    """The published dataset's report.json, which the next dataset's drift is measured against."""
    published = published_dataset()
    path = Path(published["uri"]) / "report.json" if published else None
    return path if path and path.is_file() else None


def publish_dataset(run: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
    published = {**dataset, "run": run["uri"]}
    write_json(_pointer(), published)
    return published


def _pointer() -> Path:
    return artifact_root() / "published" / "qa_dataset.json"
