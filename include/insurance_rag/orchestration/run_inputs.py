"""What a task reads before it starts: the run's folder and configuration, and the event that started the run."""

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


class AssetEvent(Protocol):
    """The part of Airflow's asset event that is read here."""

    timestamp: datetime
    extra: Mapping[str, JsonValue]


class OutletEvent(Protocol):
    """The part of Airflow's outlet event accessor that is written here."""

    extra: dict[str, JsonValue]


#: What Airflow passes as `triggering_asset_events` and as `outlet_events`; the keys are assets.
AssetEvents = Mapping[object, Sequence[AssetEvent]]
OutletEvents = Mapping[object, OutletEvent]


def open_run(artifact: RunArtifact | ShardArtifact | None) -> tuple[RunFolder, RunConfig]:
    """Return the run folder and the configuration that the first task stored in it.

    Raises AirflowFailException if there is no artifact, because the first task failed.
    """
    if artifact is None:
        raise AirflowFailException("check_input did not succeed; fix the problems that its log lists and clear it")
    folder = RunFolder(Path(artifact.run if isinstance(artifact, ShardArtifact) else artifact.uri))
    return folder, RunConfig.parse(read_json(folder.config), str(folder.config))


def event_settings(events: AssetEvents | None) -> dict[str, JsonValue]:
    """Return the settings in the newest asset event that started the run; none if no event started it."""
    newest = max((e for several in (events or {}).values() for e in several), key=lambda e: e.timestamp, default=None)
    settings = newest.extra["settings"] if newest else {}
    return settings if isinstance(settings, dict) else {}
