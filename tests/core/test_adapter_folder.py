"""The adapter folder reads its manifest and its loss history through typed records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fakes.training_manifest import MANIFEST, training_manifest

from insurance_rag.core.adapter_folder import AdapterFolder, expand_seeds, seed_folder, seed_folders
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import LossRow


def test_manifest_round_trip(tmp_path: Path) -> None:
    folder = AdapterFolder(tmp_path)
    assert folder.read_manifest() is None
    write_json(folder.manifest, MANIFEST.model_dump(mode="json"))
    assert folder.read_manifest() == MANIFEST
    assert training_manifest(dataset={"rows": 7}).dataset.rows == 7


def test_invalid_manifest_names_the_field(tmp_path: Path) -> None:
    folder = AdapterFolder(tmp_path)
    write_json(folder.manifest, {**MANIFEST.model_dump(mode="json"), "version": "v9"})
    with pytest.raises(InvalidInputError, match=r"training\.json: not a training manifest \(version: .*train the adap"):
        folder.read_manifest()


def test_loss_history_is_read_line_by_line(tmp_path: Path) -> None:
    folder = AdapterFolder(tmp_path)
    assert folder.read_loss_history() == []
    write_jsonl(folder.loss_history, [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.0, "eval_loss": 2.1}])
    assert folder.read_loss_history() == [LossRow(step=1, loss=2.5), LossRow(step=2, loss=2.0, eval_loss=2.1)]
    folder.loss_history.write_text(json.dumps({"loss": 1}) + "\n" + json.dumps({"loss": 2}) + "\n{\n")
    with pytest.raises(InvalidInputError, match="2 lines, first at line 1: not a loss row") as error:
        folder.read_loss_history()
    assert "loss_history.jsonl:3: " in str(error.value)


def test_a_folder_of_seeds_stands_for_its_adapters(tmp_path: Path) -> None:
    one, several = tmp_path / "v1", tmp_path / "v2"
    for folder in (one, seed_folder(several, 10), seed_folder(several, 9), several / "seed-notes"):
        folder.mkdir(parents=True)
    (several / ".seed-9.lock").touch()
    assert seed_folders(several) == [several / "seed-9", several / "seed-10"]  # by number
    assert expand_seeds({"v1": one, "mine": several, "none": tmp_path / "none"}) == {
        "v1": one,
        "mine-s9": several / "seed-9",
        "mine-s10": several / "seed-10",
        "none": tmp_path / "none",
    }
