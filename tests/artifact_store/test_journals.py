"""Journals in an object store: what is synced survives the loss of the disk, and two writers never mix."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.artifact_store.conftest import Store
from tests.artifact_store.faulty_proxy import FaultyProxy

from insurance_rag.core.errors import IncompleteError, LogChangedError
from insurance_rag.core.journal import Journal


def records(path: Path) -> list[dict[str, object]]:
    return list(Journal(path).read_new())


def test_synced_records_survive_the_loss_of_the_disk(store: Store) -> None:
    journal = Journal(store.path("run/j.jsonl"), append=True)
    for n in range(5):
        journal.append({"n": n})
        journal.sync()
    journal.append({"n": "not synced"})
    shutil.rmtree(store.folder / "machine-1")
    assert records(store.path("run/j.jsonl")) == [{"n": n} for n in range(5)]
    with store.on("machine-2"):
        with Journal(store.path("run/j.jsonl"), append=True) as other:
            other.append({"n": 5})
        assert [r["n"] for r in records(store.path("run/j.jsonl"))] == [0, 1, 2, 3, 4, 5]


def test_a_writer_that_was_replaced_cannot_write_any_more(store: Store) -> None:
    journal = Journal(store.path("j.jsonl"), append=True)
    journal.append({"n": 1})
    journal.sync()
    with store.on("machine-2"), Journal(store.path("j.jsonl"), append=True) as other:
        other.append({"n": 2})
        other.sync()
    journal.append({"n": "late"})
    with pytest.raises(IncompleteError, match="another process is writing this file"):
        journal.sync()
    with store.on("machine-3"):
        assert [r["n"] for r in records(store.path("j.jsonl"))] == [1, 2]


def test_records_that_a_killed_process_did_not_sync_are_kept_behind_those_of_others(store: Store) -> None:
    path = store.path("j.jsonl")
    journal = Journal(path, append=True)
    journal.append({"n": 1})
    journal.sync()
    journal.append({"n": "kept"})  # and the process is killed here
    path.write_bytes(path.read_bytes() + b'{"torn')
    with store.on("machine-2"), Journal(store.path("j.jsonl"), append=True) as other:
        other.append({"n": 2})
    with Journal(path, append=True) as again:
        again.append({"n": 3})
    assert [r["n"] for r in records(path)] == [1, 2, "kept", 3]
    with store.on("machine-3"):
        assert [r["n"] for r in records(store.path("j.jsonl"))] == [1, 2, "kept", 3]


def test_a_lost_answer_to_a_successful_request_is_no_conflict(store: Store, proxy: FaultyProxy) -> None:
    with Journal(store.path("j.jsonl"), append=True) as journal:
        journal.append({"n": 1})
        proxy.hangs_up = 1
        journal.sync()
        journal.append({"n": 2})
    with store.on("machine-2"):
        assert [r["n"] for r in records(store.path("j.jsonl"))] == [1, 2]


def test_lists_that_lag_behind_hide_nothing(store: Store, proxy: FaultyProxy) -> None:
    proxy.listed = set()
    with Journal(store.path("j.jsonl"), append=True) as journal:
        for n in range(3):
            journal.append({"n": n})
            journal.sync()
    with store.on("machine-2"):
        assert [r["n"] for r in records(store.path("j.jsonl"))] == [0, 1, 2]


def test_two_machines_share_a_log_and_decide_again_after_a_conflict(store: Store) -> None:
    first = Journal(store.path("log.jsonl"), append=True, shared=True)
    with store.on("machine-2"):
        second = Journal(store.path("log.jsonl"), append=True, shared=True)
    with first.locked():
        assert list(first.read_new()) == []
        with second.locked():
            second.append({"n": "second"})
        with pytest.raises(LogChangedError):
            first.append({"n": "first"})
    with first.locked():
        assert list(first.read_new()) == [{"n": "second"}]
        first.append_as_read({"n": "first"})
    with second.locked():
        assert list(second.read_new()) == [{"n": "second"}, {"n": "first"}]


def test_many_segments_are_copied_into_one_object(store: Store, proxy: FaultyProxy) -> None:
    with Journal(store.path("j.jsonl"), append=True) as journal:
        for n in range(32):
            journal.append({"n": n})
            journal.sync()
    assert "j.jsonl.segments/compacted" in store.listed()
    proxy.requests.clear()
    with store.on("machine-2"):
        assert len(records(store.path("j.jsonl"))) == 32
    assert len(proxy.requests) < 5


def test_a_damaged_local_copy_is_replaced(store: Store) -> None:
    path = store.path("j.jsonl")
    with Journal(path, append=True) as journal:
        for n in range(3):
            journal.append({"n": n})
    path.write_bytes(path.read_bytes()[:40])
    assert [r["n"] for r in records(path)] == [0, 1, 2]
