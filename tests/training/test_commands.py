"""The commands `pretrain`, `train` and `export`, and the base model of the demo."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from demo.config import PretrainConfig
from demo.pretrain import pretrain_base_model
from insurance_rag.cli import main as cli
from insurance_rag.cli.train import progress_folder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import AdapterArtifact, Chunk, ExportArtifact


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


def test_demo_base_model_copies_but_knows_no_prompt_format(base_model: Path, chunks: list[Chunk]) -> None:
    """After eight steps it copies sentences of unseen chunks on request, and its special tokens are distinct."""
    facts = json.loads((base_model / "pretrain.json").read_text())
    assert facts["copy_token_accuracy"] > 0.5 and facts["steps"] == 8
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    text = chunks[0].text + " 3,000만원"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and tokenizer.decode(ids[1:]) == text
    assert not {"제3조에 따르면", "약관에 해당 내용이 없습니다"} & set(tokenizer.get_vocab())


def test_too_few_chunks_are_rejected(chunks: list[Chunk], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="too few"):
        pretrain_base_model(chunks[:3], tmp_path, PretrainConfig())
