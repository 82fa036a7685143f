"""The assets that connect the DAGs: the published dataset and the trained adapters.

The task `publish` emits one event per published dataset. Partial and unchanged datasets are not published. The file
published/qa_dataset.json names the currently published dataset. If `publish` is killed between
writing this file and emitting the event, its next try emits the event.
"""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import Asset
from pydantic import ValidationError

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import DatasetArtifact
from insurance_rag.core.records.run import PublishedDataset, RunArtifact
from insurance_rag.orchestration.runs import artifact_root

QA_DATASET = Asset("qa_dataset")
ADAPTERS = Asset("adapters")


def published_dataset() -> PublishedDataset | None:
    """Return the currently published dataset, or None. Raises InvalidInputError if qa_dataset.json is invalid."""
    path = _published_file()
    if not path.is_file():
        return None
    try:
        return PublishedDataset.model_validate(read_json(path))
    except ValidationError as e:
        raise InvalidInputError(
            f"{path}: not a published dataset ({e.error_count()} problems, first: {e.errors()[0]['msg']}); remove the "
            "file, and the next refresh publishes again"
        ) from None


def published_report() -> Path | None:
    """Return the path of the published dataset's report.json, or None if there is no such file.

    The drift of the next dataset is measured against this report.
    """
    published = published_dataset()
    path = DatasetFolder(Path(published.uri)).report if published else None
    return path if path and path.is_file() else None


def publish_dataset(run: RunArtifact, dataset: DatasetArtifact) -> PublishedDataset:
    """Record `dataset` as the published dataset, and return the record."""
    facts = dataset.model_dump(include={"uri", "sha256", "rows", "data_sha256"})
    published = PublishedDataset(**facts, run=run.uri)
    write_json(_published_file(), published.model_dump(mode="json"))
    return published


def _published_file() -> Path:
    return artifact_root() / "published" / "qa_dataset.json"
