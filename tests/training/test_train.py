"""Real trainings of a small model with NF4 and LoRA: the adapter folder, reuse, out of memory, early stopping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.training.conftest import largest_difference, manifest_of, quick, weights

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import GpuMemoryError, InvalidInputError
from insurance_rag.training import train_adapter
from insurance_rag.training.micro_batches import MicroBatch, count_rows
from insurance_rag.training.trainer import AdapterTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def test_adapter_folder_is_complete(straight: Path, base_model: Path) -> None:
    names = {path.name for path in straight.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert {"training.json", "loss_history.jsonl", "README.md"} <= names
    assert not {"checkpoints", ".staging", "training_args.bin"} & names
    config = json.loads((straight / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base_model) and config["r"] == 16


def test_manifest_describes_the_training(straight: Path) -> None:
    manifest = manifest_of(straight)
    assert (manifest.steps, manifest.epochs) == (4, 1.0) and manifest.tokens_per_s > 0
    assert manifest.eval_loss is not None and manifest.eval_loss > 0
    assert (manifest.version, manifest.prompt_format, manifest.quantization) == ("v2", "rag", "nf4")
    assert manifest.settings["lora"] == {
        "r": 16, "alpha": 32, "dropout": 0.1, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
        "use_rslora": False, "use_dora": False, "init_lora_weights": True,
    }  # fmt: skip
    assert manifest.dataset.rows == 16 and manifest.dataset.heldout_documents is None
    assert manifest.dataset.sha256 in (straight / "README.md").read_text()


def test_loss_history_has_one_row_per_step(straight: Path) -> None:
    history = AdapterFolder(straight).read_loss_history()
    assert [row.step for row in history] == [1, 2, 3, 4]
    assert all(row.loss is not None and row.learning_rate is not None for row in history)
    assert history[0].eval_loss is None and history[1].eval_loss is not None


def test_same_call_returns_the_finished_adapter(straight: Path, dataset: Path, base_model: Path) -> None:
    before = (straight / "training.json").stat().st_mtime_ns
    result = train_adapter(quick(lora={"dropout": 0.1}), dataset, str(base_model), straight)
    assert (straight / "training.json").stat().st_mtime_ns == before
    assert (result.steps, result.rows, result.prompt_format) == (4, 16, "rag")


def limit_rows_in_memory(limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make every forward pass of more than `limit` rows fail like a full GPU; return the rows of each attempt."""
    attempts: list[int] = []
    compute_loss = AdapterTrainer.compute_loss

    def compute_or_fail(
        self: AdapterTrainer, model: PreTrainedModel, inputs: MicroBatch, *args: object, **kwargs: object
    ) -> object:
        rows = count_rows(inputs)
        if model.training:
            attempts.append(rows)
            if rows > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return compute_loss(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(AdapterTrainer, "compute_loss", compute_or_fail)
    return attempts


@pytest.mark.parametrize("padding_free", [True, False])
def test_out_of_memory_splits_the_micro_batch_and_changes_nothing_else(
    base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding_free: bool
) -> None:
    recipe = quick(max_steps=2, batch_size=8, per_device_train_batch_size=4, eval_steps=None, padding_free=padding_free)
    train_adapter(recipe, dataset, str(base_model), tmp_path / "large")
    attempts = limit_rows_in_memory(1, monkeypatch)
    train_adapter(recipe, dataset, str(base_model), tmp_path / "small")
    assert attempts[:3] == [4, 2, 1] and set(attempts[3:]) == {1}
    assert manifest_of(tmp_path / "small").micro_batch_pieces == 4
    # The sums have another order, so the weights are not bit-equal.
    assert largest_difference(weights(tmp_path / "large"), weights(tmp_path / "small")) < 1e-4


def test_out_of_memory_with_one_row_says_what_to_change(
    base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_rows_in_memory(0, monkeypatch)
    with pytest.raises(GpuMemoryError, match="memory_preset=8GB or a shorter max_length"):
        train_adapter(quick(), dataset, str(base_model), tmp_path / "a")


def test_early_stopping_keeps_the_best_adapter(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """The learning rate destroys the adapter, so the held-out loss rises and the run ends before its last step."""
    settings = quick(
        early_stopping_patience=1, max_steps=30, batch_size=2, eval_steps=1, learning_rate=0.5, warmup_steps=0
    )
    result = train_adapter(settings, dataset, str(base_model), tmp_path / "a")
    history = AdapterFolder(tmp_path / "a").read_loss_history()
    assert result.steps < 30
    best = min(row.eval_loss for row in history if row.eval_loss is not None)
    assert result.eval_loss == pytest.approx(best, abs=1e-3)


def test_dora_on_rows_of_zeros_is_rejected(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """PEFT would divide zero by zero, and the trainer would log the losses, which are not numbers, as zeros."""
    with pytest.raises(InvalidInputError, match=r"rows of zeros \(the first is model.layers.0.self_attn.[qk]_proj\)"):
        train_adapter(quick(lora={"use_dora": True}), dataset, str(base_model), tmp_path / "a")


def test_tensorboard_events_are_written(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    train_adapter(quick(max_steps=1, report_to=["tensorboard"]), dataset, str(base_model), tmp_path / "a")
    assert list((tmp_path / "a" / "logs").glob("events.out.tfevents.*"))


def test_new_training_replaces_the_adapter_only_when_it_is_finished(
    base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a"
    train_adapter(quick(max_steps=1), dataset, str(base_model), out)
    before = weights(out)
    with monkeypatch.context() as patch, pytest.raises(GpuMemoryError):
        limit_rows_in_memory(0, patch)
        train_adapter(quick(max_steps=1, seed=7), dataset, str(base_model), out)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(out).items())
    train_adapter(quick(max_steps=1, seed=7), dataset, str(base_model), out)
    assert manifest_of(out).settings["seed"] == 7


def test_unreadable_manifest_is_replaced(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "training.json").write_text('{"version": "v2"}')
    train_adapter(quick(max_steps=1), dataset, str(base_model), tmp_path / "a")
    assert manifest_of(tmp_path / "a").steps == 1
