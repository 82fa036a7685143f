"""The assets that connect the tasks: chunks, the published dataset and questions, adapters, and the gate's decision.

The URI of an asset is a file in the folder `published` that describes the newest version, e.g. qa_dataset.json. A task
writes this file and emits an event with the same facts. If the task is killed between the two, its next try emits the
event. The task `publish` emits one event per published dataset. Partial and unchanged datasets are not published.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from airflow.sdk import Asset
from pydantic import BaseModel, JsonValue

from insurance_rag.config import RunConfig
from insurance_rag.core.artifact_store.locations import is_store_uri, public_uri, public_value
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import write_json
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import DatasetArtifact
from insurance_rag.core.records.run import PublishedDataset, PublishedQuestions, RunArtifact
from insurance_rag.orchestration.artifact_parts import localized
from insurance_rag.orchestration.run_inputs import OutletEvents
from insurance_rag.orchestration.runs import artifact_root

R = TypeVar("R", bound=BaseModel)


def root_uri() -> str:
    """Return the URI of the artifact root. It does not end with a slash."""
    uri = public_uri(artifact_root())
    return uri if is_store_uri(uri) else f"file://{uri}"


def _published_asset(name: str, file: str) -> Asset:
    return Asset(name=name, uri=f"{root_uri()}/published/{file}")


CHUNKS = _published_asset("chunks", "chunks.json")
QA_DATASET = _published_asset("qa_dataset", "qa_dataset.json")
QUESTION_SET = _published_asset("question_set", "questions.json")
ADAPTERS = _published_asset("adapters", "adapters.json")
DECISION = _published_asset("decision", "decision.json")


def publish(asset: Asset, record: R, events: OutletEvents | None = None, **extra: JsonValue) -> R:
    """Write the record that describes the newest version of an asset to the file of the asset, and return it.

    If `events` has the asset, its event gets the same facts, and `extra`. Airflow ignores the event if the asset is no
    outlet of the task.
    """
    facts = {name: public_value(value) for name, value in record.model_dump(mode="json").items()}
    write_json(_file_of(asset), facts)
    if events is not None and asset in events:
        events[asset].extra = {**facts, **{name: public_value(value) for name, value in extra.items()}}
    return record


def publish_dataset(
    run: RunArtifact,
    dataset: DatasetArtifact,
    config: RunConfig,
    events: OutletEvents | None = None,
    **extra: JsonValue,
) -> PublishedDataset:
    """Publish `dataset`, which a run with this configuration made, and return its record. See `publish`."""
    facts = dataset.model_dump(include={"uri", "sha256", "rows", "data_sha256"})
    record = PublishedDataset(**facts, run=run.uri, chunks=config.chunks, documents=[*config.documents])
    return publish(QA_DATASET, record, events, **extra)


def published_dataset() -> PublishedDataset | None:
    """Return the currently published dataset, or None. Raises InvalidInputError if qa_dataset.json is invalid."""
    return _read(_file_of(QA_DATASET), PublishedDataset, "the next refresh publishes again")


def published_questions() -> PublishedQuestions | None:
    """Return the currently published question set, or None. Raises InvalidInputError if questions.json is invalid."""
    return _read(_file_of(QUESTION_SET), PublishedQuestions, "start the DAG make_questions again")


def published_report() -> Path | None:
    """Return the path of the published dataset's report.json, or None if there is no such file.

    The drift of the next dataset is measured against this report.
    """
    published = published_dataset()
    path = DatasetFolder(Path(published.uri)).report if published else None
    return path if path and path.is_file() else None


def _read(path: Path, record: type[R], otherwise: str) -> R | None:
    """Return the record in a file, or None without a file. `otherwise` says what follows if a person removes it."""
    if not path.is_file():
        return None
    return localized(read_record(path, record, f"a {record.__name__}", f"remove the file, and {otherwise}"))


def _file_of(asset: Asset) -> Path:
    return artifact_root() / "published" / asset.uri.rsplit("/", 1)[1]
