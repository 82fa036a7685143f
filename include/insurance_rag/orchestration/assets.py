"""The assets that connect the DAGs: the published dataset, the published questions and the trained adapters.

The task `publish` emits one event per published dataset. Partial and unchanged datasets are not published. The file
published/qa_dataset.json names the currently published dataset. If `publish` is killed between
writing this file and emitting the event, its next try emits the event.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from airflow.sdk import Asset
from pydantic import BaseModel

from insurance_rag.config import RunConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import write_json
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import DatasetArtifact
from insurance_rag.core.records.run import PublishedDataset, PublishedQuestions, RunArtifact
from insurance_rag.orchestration.runs import artifact_root

QA_DATASET = Asset("qa_dataset")
QUESTION_SET = Asset("question_set")
ADAPTERS = Asset("adapters")


def published_dataset() -> PublishedDataset | None:
    """Return the currently published dataset, or None. Raises InvalidInputError if qa_dataset.json is invalid."""
    return _read(_published_file(), PublishedDataset, "the next refresh publishes again")


def published_questions() -> PublishedQuestions | None:
    """Return the currently published question set, or None. Raises InvalidInputError if questions.json is invalid."""
    return _read(_questions_file(), PublishedQuestions, "start the DAG make_questions again")


def published_report() -> Path | None:
    """Return the path of the published dataset's report.json, or None if there is no such file.

    The drift of the next dataset is measured against this report.
    """
    published = published_dataset()
    path = DatasetFolder(Path(published.uri)).report if published else None
    return path if path and path.is_file() else None


def publish_dataset(run: RunArtifact, dataset: DatasetArtifact, config: RunConfig) -> PublishedDataset:
    """Record `dataset`, which a run with this configuration made, as the published dataset. Return the record."""
    facts = dataset.model_dump(include={"uri", "sha256", "rows", "data_sha256"})
    published = PublishedDataset(**facts, run=run.uri, chunks=config.chunks, documents=[*config.documents])
    write_json(_published_file(), published.model_dump(mode="json"))
    return published


def publish_questions(published: PublishedQuestions) -> PublishedQuestions:
    """Record `published` as the published question set, and return it."""
    write_json(_questions_file(), published.model_dump(mode="json"))
    return published


R = TypeVar("R", bound=BaseModel)


def _read(path: Path, record: type[R], otherwise: str) -> R | None:
    """Return the record in a file, or None without a file. `otherwise` says what follows if a person removes it."""
    if not path.is_file():
        return None
    return read_record(path, record, f"a {record.__name__}", f"remove the file, and {otherwise}")


def _published_file() -> Path:
    return artifact_root() / "published" / "qa_dataset.json"


def _questions_file() -> Path:
    return artifact_root() / "published" / "questions.json"
