"""Watches folders of documents in the triggerer. A changed document emits an event, which starts a refresh."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from pydantic import JsonValue

from insurance_rag.core.errors import PipelineError
from insurance_rag.orchestration.assets import root_uri
from insurance_rag.orchestration.documents import (
    content_hash,
    list_documents,
    location_uri,
    remember_documents,
)

POLL_S = 60.0
"""Number of seconds between two looks at the folders, if $DOCUMENTS_POLL_S is not set."""


class DocumentsTrigger(BaseEventTrigger):
    """Emits an event when the files in the folders have changed, and nothing has changed since the look before.

    The second condition waits until a large file is copied completely. The hash of the contents decides, so a file that
    is only copied again emits no event. The hash of the documents that a refresh started from is kept with the
    artifacts. A restarted triggerer therefore emits no event twice.
    """

    def __init__(self, locations: list[str], poll_s: float = POLL_S) -> None:
        super().__init__()
        self.locations = locations
        self.poll_s = poll_s

    def serialize(self) -> tuple[str, dict[str, JsonValue]]:
        """Return the path of the class and its arguments."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return name, {"locations": [*self.locations], "poll_s": self.poll_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the folders again and again."""
        before = checked = None
        while True:
            try:
                files = await asyncio.to_thread(list_documents, self.locations)
                if files and files == before and files != checked:
                    sha256 = await asyncio.to_thread(content_hash, files)
                    changed = await asyncio.to_thread(remember_documents, sha256)
                    checked = files
                    if changed:
                        yield TriggerEvent({"documents": len(files), "sha256": sha256})
                before = files
            except (OSError, PipelineError) as e:  # a file that is being replaced, or a bucket that is unavailable
                self.log.warning("the documents cannot be read now: %s", e)
            await asyncio.sleep(self.poll_s)


def documents_asset(locations: list[str]) -> Asset:
    """Return the asset that stands for the documents at the locations, with its watcher.

    Its URI is that of the location. For several locations, it is the file that records which documents were seen last.
    """
    poll_s = float(os.environ.get("DOCUMENTS_POLL_S") or POLL_S)
    watcher = AssetWatcher(name="documents_changed", trigger=DocumentsTrigger(locations, poll_s))
    uri = location_uri(locations[0]) if len(locations) == 1 else f"{root_uri()}/published/documents.json"
    return Asset(name="documents", uri=uri, watchers=[watcher])
