"""The commands `pretrain`, `train` and `export`, and the base model of the demo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insurance_rag.cli import main as cli
from insurance_rag.cli.train import progress_folder
from insurance_rag.core.records import AdapterArtifact, ExportArtifact


@pytest.mark.parametrize("command", ["pretrain", "train", "export"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert f"insurance-rag {command}" in capsys.readouterr().out


def test_pretrain_train_export(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the three commands in a run folder, to whose progress folder they write."""
    (tmp_path / "plan.json").write_text("{}")
    base, adapter = tmp_path / "base_model", tmp_path / "adapters" / "v2"
    small = [f"--set={s}" for s in ("steps=2", "vocab_size=600", "context=512", "tokens_per_step=256")]
    assert cli.main(["pretrain", "--chunks", "sample", "--out", str(base), "--json", *small]) == 0
    names = ("max_steps=1", "batch_size=2", "per_device_train_batch_size=2", "max_length=512", "eval_rows=2")
    settings = [f"--set={name}" for name in names]
    train = ["train", "--recipe", "smoke", "--dataset", str(dataset), "--base-model", str(base), "--out", str(adapter)]
    assert cli.main([*train, "--json", *settings]) == 0
    result = AdapterArtifact.model_validate_json(capsys.readouterr().out.splitlines()[-1])
    assert (result.version, result.prompt_format, result.steps, result.rows) == ("v2", "rag", 1, 16)
    assert len(list((tmp_path / "progress").glob("*.json"))) == 2
    export = ["export", "--adapter", str(adapter), "--base-model", str(base), "--out", str(tmp_path / "merged")]
    assert cli.main([*export, "--json"]) == 0
    assert ExportArtifact.model_validate_json(capsys.readouterr().out.splitlines()[-1]).prompt_format == "rag"
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert cli.main([*train, "--set", "max_step=1"]) == 2
    assert "did you mean 'max_steps'" in capsys.readouterr().err
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_progress_is_written_to_the_run_folder(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    assert progress_folder(tmp_path / "adapters" / "v2") == tmp_path / "progress"
    assert progress_folder(tmp_path.parent / "elsewhere") is None
