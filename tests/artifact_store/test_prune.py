"""Old runs are removed, on local disks and in object stores, but none that something in use rests on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.artifact_store.conftest import Store

from insurance_rag.cli.main import main
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifact_store.mirror import Part
from insurance_rag.core.artifact_store.workspace import Workspace
from insurance_rag.core.files import write_json
from insurance_rag.core.journal import Journal
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.run_folder import RunFolder

DAG = "finetune_pipeline"


def write_tree(root: Path, registry: Path) -> None:
    """Write seven runs: one per reason to keep a run, and two that nothing needs."""

    def run(name: str, **config: object) -> RunFolder:
        folder = RunFolder(root / DAG / name)
        write_json(folder.config, config)
        write_json(folder.plan, {"refresh": {"previous": [public_uri(root / DAG / "unused-1")]}})
        write_json(folder.parts / "dataset_part_1.json", [])
        return folder

    run("unused-1", registry=public_uri(registry))
    run("unused-2")
    published, trained, evaluated = run("published"), run("dataset-of-champion"), run("of-champion")
    run("of-decision")
    write_json(root / "published" / "qa_dataset.json", {"uri": public_uri(published.dataset), "chunks": "sample"})
    adapter = evaluated.adapters / "v2"
    write_json(adapter / "training.json", {"dataset": {"uri": public_uri(trained.dataset / "train.json")}})
    evaluation = public_uri(evaluated.evaluation)
    write_json(registry / "champion.json", {"adapter": "adapters/ab", "evaluation": evaluation})
    with Journal(registry / "decisions.jsonl", append=True) as journal:
        journal.append({"decision": "refuse", "evaluation": public_uri(root / DAG / "of-decision" / "evaluation")})


def left(root: Path) -> set[str]:
    return {path.parent.name for path in root.glob("*/*/plan.json")}


def prune(*options: str) -> int:
    return main(["prune", *options, "--json"])


KEPT = {"published", "dataset-of-champion", "of-champion", "of-decision"}


def test_local_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, registry = tmp_path / "artifacts", tmp_path / "registry"
    write_tree(root, registry)
    for path in root.rglob("*"):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    RunFolder(root / DAG / "new").create()
    write_json(root / DAG / "new" / "plan.json", {})
    options = ("--root", str(root), "--older-than", "30d", "--registry", str(registry))
    assert prune(*options, "--dry-run") == 0
    result = json.loads(capsys.readouterr().out)
    assert {Path(run["run"]).name for run in result["runs"] if run["removed"]} == {"unused-1", "unused-2"}
    assert left(root) == KEPT | {"unused-1", "unused-2", "new"}
    with hold_lock(RunFolder(root / DAG / "unused-2").lock(1), "shard 1"):
        assert prune(*options) == 0
    assert left(root) == KEPT | {"unused-2", "new"}
    assert prune(*options, "--keep-last", "9") == 0
    assert left(root) == KEPT | {"unused-2", "new"}
    for path in (root / DAG / "unused-2").rglob("*"):  # the lock file is new
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    assert prune(*options) == 0
    assert left(root) == KEPT | {"new"}


@pytest.mark.parametrize(("options", "message"), [
    (["--older-than", "30d"], "--registry: missing"),
    (["--older-than", "30"], "not an age; give e.g. 30d"),
    (["--older-than", "1d", "--keep-last", "-1"], "too small; give 0 or more"),
    (["--older-than", "1d", "--registry", "/no/registry"], "/no/registry: is no registry"),
])  # fmt: skip
def test_bad_options(tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune("--root", str(tmp_path), *options) == 2
    assert message in capsys.readouterr().err


def test_an_unreadable_manifest_stops_the_removal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path / "artifacts", tmp_path / "registry")
    (tmp_path / "artifacts" / "published" / "qa_dataset.json").write_text("{")
    assert prune("--root", str(tmp_path / "artifacts"), "--older-than", "0h", "--no-registry") == 2
    assert "it is not known which runs it rests on" in capsys.readouterr().err
    assert "unused-2" in left(tmp_path / "artifacts")


def test_runs_in_an_object_store(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    root, registry = store.path("artifacts"), store.path("registry")
    with Workspace([Part(root), Part(registry)]):
        write_tree(root, registry)
    with store.on("machine-2"):
        options = ("--root", store.uri("artifacts"), "--older-than", "0h", "--registry", store.uri("registry"))
        assert prune(*options) == 0
        result = json.loads(capsys.readouterr().out)
        assert {run["run"] for run in result["runs"] if run["removed"]} == {
            store.uri(f"artifacts/{DAG}/unused-{n}") for n in (1, 2)
        }
    assert {key.split("/")[2] for key in store.listed(f"artifacts/{DAG}")} == KEPT
