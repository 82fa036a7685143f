"""Tests that need a GPU: `pytest -m cuda tests/training`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.conftest import largest_difference, manifest_of, quick, weights

from insurance_rag.models.base_model import load_base_model
from insurance_rag.models.tokenizer import load_training_tokenizer
from insurance_rag.training import train_adapter
from insurance_rag.training import trainer as trainer_module
from insurance_rag.training.micro_batches import MicroBatch

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_fp16_fails_with_bf16_adapters(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """fp16, as in the reference design, cannot train QLoRA adapters with TRL 1.16; the recipes use bf16."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float16)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base_model, quantization_config=quantization, device_map={"": 0}),
        args=SFTConfig(
            output_dir=str(tmp_path), fp16=True, bf16=False, max_steps=1, report_to="none", save_strategy="no"
        ),
        train_dataset=Dataset.from_list([{"prompt": "가", "completion": "나"}] * 4),
        processing_class=AutoTokenizer.from_pretrained(base_model),
        peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]),
    )
    with pytest.raises((NotImplementedError, RuntimeError, ValueError)) as error:
        trainer.train()
    print("\nfp16:", type(error.value).__name__, str(error.value)[:150])
    result = train_adapter(quick(), dataset, str(base_model), tmp_path / "bf16")
    assert result.steps == 4 and result.loss > 0


def test_full_gpu_splits_the_micro_batch(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """The memory is limited so that one row fits and eight rows do not."""
    settings = {"max_steps": 2, "batch_size": 8, "eval_steps": None, "gradient_checkpointing": False}
    peaks = {}
    for rows in (1, 8):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        recipe = quick(**settings, per_device_train_batch_size=rows)
        train_adapter(recipe, dataset, str(base_model), tmp_path / str(rows))
        peaks[rows] = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((peaks[1] + peaks[8]) / 2 / total)
    try:
        recipe = quick(**settings, per_device_train_batch_size=8, seed=43)
        train_adapter(recipe, dataset, str(base_model), tmp_path / "full")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    pieces = manifest_of(tmp_path / "full").micro_batch_pieces
    print(f"\nMiB reserved { ({k: v >> 20 for k, v in peaks.items()}) }, pieces {pieces}")
    assert pieces > 1


def test_resuming_is_as_close_as_running_twice(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """On a GPU not even identical runs are bit-equal; a resumed run must not differ more than they do."""

    def run(name: str) -> dict[str, torch.Tensor]:
        train_adapter(quick(), dataset, str(base_model), tmp_path / name)
        return weights(tmp_path / name)

    first, second = run("first"), run("second")
    training_step = trainer_module.AdapterTrainer.training_step

    def fail_at_step_3(
        self: trainer_module.AdapterTrainer, model: torch.nn.Module, inputs: MicroBatch, n_items: torch.Tensor
    ) -> torch.Tensor:
        if self.state.global_step == 3:
            raise RuntimeError("power cut")
        return training_step(self, model, inputs, n_items)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(trainer_module.AdapterTrainer, "training_step", fail_at_step_3)
        run("resumed")
    rerun, resumed = largest_difference(first, second), largest_difference(first, run("resumed"))
    print(f"\nlargest difference: rerun {rerun:.2e}, resumed {resumed:.2e}")
    assert resumed <= max(2 * rerun, 2e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_activations_in_host_memory_change_nothing(
    base_model: Path, dataset: Path, tmp_path: Path, compiled: bool
) -> None:
    settings = {"gradient_checkpointing": True, "torch_compile": compiled, "max_steps": 3, "eval_steps": None}
    for name, offload in (("gpu", False), ("host", True)):
        recipe = quick(**settings, offload_activations=offload)
        train_adapter(recipe, dataset, str(base_model), tmp_path / name)
    # Even two identical runs differ a little on a GPU.
    assert largest_difference(weights(tmp_path / "gpu"), weights(tmp_path / "host")) < 2e-3


def test_embeddings_in_host_memory_change_nothing(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """Also while the held-out rows are measured and the adapter is saved."""
    untied = tmp_path / "base"
    model = load_base_model(str(base_model), torch.float32)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.save_pretrained(untied)
    load_training_tokenizer(str(base_model)).save_pretrained(untied)
    for name, host in (("gpu", False), ("host", True)):
        train_adapter(quick(host_embeddings=host), dataset, str(untied), tmp_path / name)
    assert largest_difference(weights(tmp_path / "gpu"), weights(tmp_path / "host")) < 2e-3
    losses = [manifest_of(tmp_path / name).eval_loss for name in ("gpu", "host")]
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
