"""Reads what a task needs before it starts: the run folder, the configuration and the event that started the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from airflow.sdk.exceptions import AirflowFailException
from pydantic import JsonValue

from insurance_rag.config import RunConfig
from insurance_rag.core.files import read_json
from insurance_rag.core.records.run import RunArtifact, ShardArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.artifact_parts import localized


class AssetEvent(Protocol):
    """The attributes of Airflow's asset event that this package reads."""

    timestamp: datetime
    extra: Mapping[str, JsonValue]


class OutletEvent(Protocol):
    """The attribute of Airflow's outlet event accessor that this package sets."""

    extra: dict[str, JsonValue]


#: Types of the task arguments `triggering_asset_events` and `outlet_events`. The keys are assets.
AssetEvents = Mapping[object, Sequence[AssetEvent]]
OutletEvents = Mapping[object, OutletEvent]


def open_run(artifact: RunArtifact | ShardArtifact | None) -> tuple[RunFolder, RunConfig]:
    """Return the run folder and the run's configuration, with the chunks and questions that the run made itself.

    Raises AirflowFailException if `artifact` is None, which means that the first task failed.
    """
    folder, config = stored_run(artifact)
    made: dict[str, str] = {}
    if config.documents:
        made["chunks"] = str(folder.ingested)
    if config.documents or config.make_questions:
        made["questions"] = str(folder.questions)
    return folder, config.model_copy(update=made)


def stored_run(artifact: RunArtifact | ShardArtifact | None) -> tuple[RunFolder, RunConfig]:
    """Return the run folder and the configuration that the first task stored in it."""
    if artifact is None:
        raise AirflowFailException(
            "check_input did not succeed; fix the problems listed in its log, then clear check_input"
        )
    folder = RunFolder(Path(artifact.run if isinstance(artifact, ShardArtifact) else artifact.uri))
    return folder, localized(RunConfig.parse(read_json(folder.config), str(folder.config)))


def event_settings(events: AssetEvents | None) -> dict[str, JsonValue]:
    """Return the settings in the newest asset event that started the run.

    Empty if no asset event started the run, or if the event has no settings, such as that of changed documents.
    """
    newest = max((e for several in (events or {}).values() for e in several), key=lambda e: e.timestamp, default=None)
    settings = newest.extra.get("settings") if newest else {}
    return settings if isinstance(settings, dict) else {}
