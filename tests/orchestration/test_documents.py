"""Which documents a run reads, and what makes a watched folder start a refresh."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from airflow.triggers.base import TriggerEvent
from tests.artifact_store.conftest import Store

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.orchestration.document_watch import DocumentsTrigger, documents_asset
from insurance_rag.orchestration.documents import list_documents, local_documents, missing_documents
from insurance_rag.orchestration.settings import refresh_schedule

NOTHING_S = 0.5


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    (tmp_path / "policies" / "2026").mkdir(parents=True)
    (tmp_path / "policies" / "a.md").write_text("# 제1조(목적)")
    (tmp_path / "policies" / "2026" / "b.txt").write_text("제1조(목적)")
    (tmp_path / "policies" / ".DS_Store").write_text("hidden")
    (tmp_path / "policies" / "~$a.docx").write_text("a lock file")
    return tmp_path / "policies"


def test_folders_and_files_are_listed_without_hidden_files(policies: Path) -> None:
    assert [Path(file.name).name for file in list_documents([str(policies)])] == ["b.txt", "a.md"]
    assert len(list_documents([str(policies / "a.md"), str(policies / "2026")])) == 2
    assert missing_documents([str(policies)]) == []
    (problem,) = missing_documents([str(policies), str(policies / "none")])
    assert problem.startswith(f"documents: {policies}/none: there is no file;")


def test_the_files_of_a_bucket_are_copied(policies: Path, tmp_path: Path) -> None:
    (folder,) = local_documents([f"file://{policies}"], tmp_path / "copies")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "2026/b.txt",
        "a.md",
    ]
    assert local_documents([str(policies)], tmp_path) == [policies]
    with pytest.raises(InvalidInputError, match="documents: nosuchscheme://x cannot be read"):
        list_documents(["nosuchscheme://x"])


def test_a_changed_document_emits_one_event(policies: Path) -> None:
    async def watch() -> None:
        events = DocumentsTrigger([str(policies)], poll_s=0.02).run()
        first = await asyncio.wait_for(anext(events), 5)
        assert isinstance(first.payload, dict) and first.payload["documents"] == 2
        nothing = asyncio.ensure_future(_next(events))
        os.utime(policies / "a.md", (1, 1))  # copied again, with the same content
        assert not (await asyncio.wait([nothing], timeout=NOTHING_S))[0]
        (policies / "a.md").write_text("# 제1조(목적) 개정")
        second = await asyncio.wait_for(nothing, 5)
        assert isinstance(second.payload, dict) and second.payload["sha256"] != first.payload["sha256"]

        restarted = asyncio.ensure_future(_next(DocumentsTrigger([str(policies)], poll_s=0.02).run()))
        assert not (await asyncio.wait([restarted], timeout=NOTHING_S))[0]
        restarted.cancel()

    asyncio.run(watch())


def test_a_triggerer_that_lost_its_disk_emits_no_event_again(policies: Path, store: Store) -> None:
    store.monkeypatch.setenv("ARTIFACT_ROOT", store.uri("artifacts"))

    async def watch() -> None:
        events = DocumentsTrigger([str(policies)], poll_s=0.02).run()
        await asyncio.wait_for(anext(events), 5)
        with store.on("machine-2"):
            restarted = asyncio.ensure_future(_next(DocumentsTrigger([str(policies)], poll_s=0.02).run()))
            assert not (await asyncio.wait([restarted], timeout=NOTHING_S))[0]
            restarted.cancel()

    asyncio.run(watch())
    assert store.listed() == ["artifacts/published/documents.json"]


async def _next(events: AsyncIterator[TriggerEvent]) -> TriggerEvent:
    return await anext(events)


def test_the_refresh_watches_the_folders_of_the_environment(policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCUMENTS", raising=False)
    assert type(refresh_schedule()).__name__ == "CronTriggerTimetable"
    monkeypatch.setenv("DOCUMENTS", f"{policies}, s3://bucket/policies")
    assert type(refresh_schedule()).__name__ == "AssetOrTimeSchedule"
    (watcher,) = documents_asset([str(policies)]).watchers
    assert watcher.name == "documents_changed"
