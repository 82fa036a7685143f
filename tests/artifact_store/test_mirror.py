"""Fetching and publishing: only what changed, manifests last, and nothing is trusted that does not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.artifact_store.conftest import Store
from tests.artifact_store.faulty_proxy import FaultyProxy

from insurance_rag.core.artifact_store import mirror
from insurance_rag.core.artifact_store.mirror import Part
from insurance_rag.core.artifact_store.workspace import Workspace
from insurance_rag.core.artifacts import describe, manifest_path
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Artifact


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def publish_dataset(store: Store) -> None:
    run = store.path("run")
    with Workspace([Part(run)]):
        write(run / "dataset" / "rows.json", "rows")
        write(run / "dataset" / "inner" / "more.json", "more")
        manifest = describe(run / "dataset", Artifact)
        write_json(manifest_path(run / "dataset"), manifest.model_dump(mode="json"))


def test_another_machine_sees_what_was_published(store: Store, proxy: FaultyProxy) -> None:
    publish_dataset(store)
    puts = [path for method, path in proxy.requests if method == "PUT"]
    assert puts[-1].endswith("/run/dataset.manifest.json")
    with store.on("machine-2"), Workspace([Part(store.path("run"))]):
        assert (store.path("run") / "dataset" / "inner" / "more.json").read_text() == "more"
        manifest = manifest_path(store.path("run") / "dataset").read_text()
        assert store.uri("run/dataset") in manifest
        assert str(store.folder) not in manifest


def test_only_what_has_changed_is_copied(store: Store, proxy: FaultyProxy) -> None:
    publish_dataset(store)
    proxy.requests.clear()
    with Workspace([Part(store.path("run"))]):
        write(store.path("run") / "new.json", "new")
    assert [path for method, path in proxy.requests if method == "PUT"] == [f"/{store.bucket}/run/new.json"]
    assert not [path for method, path in proxy.requests if method == "GET" and path.endswith(".json")]


def test_removed_files_are_removed_and_a_lost_scratch_folder_removes_nothing(store: Store) -> None:
    publish_dataset(store)
    shutil.rmtree(store.path("run"))  # but not the index, as a cleaner of temporary files does
    with Workspace([Part(store.path("run"))]):
        assert (store.path("run") / "dataset" / "rows.json").read_text() == "rows"
        (store.path("run") / "dataset" / "rows.json").unlink()
    assert store.listed("run/dataset/") == ["run/dataset/inner/more.json"]


def test_what_a_killed_process_left_behind_is_replaced_by_the_published_state(store: Store) -> None:
    publish_dataset(store)
    write(store.path("run") / "dataset" / "rows.json", "half of the")
    write(store.path("run") / "dataset" / "unpublished.json", "x")
    with Workspace([Part(store.path("run"))]):
        assert (store.path("run") / "dataset" / "rows.json").read_text() == "rows"
        assert not (store.path("run") / "dataset" / "unpublished.json").exists()


def test_an_artifact_that_does_not_fit_its_manifest_is_not_trusted(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mirror, "RETRY_DELAYS_S", (0.0, 0.0))
    publish_dataset(store)
    store.put("run/dataset/rows.json", b"changed by hand")
    with store.on("machine-2"), Workspace([Part(store.path("run"))]):
        assert not manifest_path(store.path("run") / "dataset").exists()
    assert f"{store.uri('run/dataset.manifest.json')} does not fit" in caplog.text
    assert "run/dataset.manifest.json" in store.listed()


def test_an_old_list_does_not_remove_what_exists(store: Store, proxy: FaultyProxy) -> None:
    publish_dataset(store)
    proxy.listed = set()
    with Workspace([Part(store.path("run"))]):
        assert (store.path("run") / "dataset" / "rows.json").read_text() == "rows"
    assert len(store.listed("run/dataset")) == 3


def test_a_checkpoint_is_published_as_a_whole_while_the_command_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insurance_rag.core.artifact_store.workspace.PUBLISH_INTERVAL_S", 0.1)
    folder = store.path("adapter") / "checkpoints" / "f00"
    with Workspace([Part(store.path("adapter"))]) as workspace:
        write(folder / "checkpoint-1" / "weights.safetensors", "w")
        write(folder / "checkpoint-1" / "complete.json", "{}")
        write(folder / "checkpoint-2" / "weights.safetensors", "half")
        for _ in range(100):
            if "adapter/checkpoints/f00/checkpoint-1/complete.json" in store.listed():
                break
            workspace._ended.wait(0.05)
        assert not [key for key in store.listed() if "checkpoint-2" in key]
        shutil.rmtree(folder)
    assert store.listed("adapter") == []


def test_the_time_of_weights_is_the_same_on_all_machines(store: Store) -> None:
    with Workspace([Part(store.path("m"))]):
        weights = write(store.path("m") / "a.safetensors", "w")
        os.utime(weights, (1, 1))
    here = weights.stat().st_mtime_ns
    with store.on("machine-2"), Workspace([Part(store.path("m"))]):
        assert (store.path("m") / "a.safetensors").stat().st_mtime_ns == here


def test_a_server_that_is_busy_for_a_while_is_asked_again(store: Store, proxy: FaultyProxy) -> None:
    proxy.errors_left = 3
    publish_dataset(store)
    assert len(store.listed("run/dataset")) == 3


def test_a_server_that_stays_away_is_incomplete_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ARTIFACT_RETRY_S", "1")
    with pytest.raises(IncompleteError, match=r"s3://.*/run: cannot read .* run the same command again") as e:
        publish_dataset(store)
    assert "not-a-secret" not in str(e.value) and "AKIA" not in str(e.value)


def test_a_missing_bucket_is_an_input_error(store: Store) -> None:
    store.bucket = "no-such-bucket"
    with pytest.raises(InvalidInputError, match="s3://no-such-bucket: no such bucket; create it"):
        publish_dataset(store)
