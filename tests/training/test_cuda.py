"""What only a GPU can show: run with `pytest -m cuda tests/training`; the output of the last run is in docs/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import QUICK

from insurance_rag.training import load_recipe, train_adapter

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def quick(**settings: Any) -> Any:
    return load_recipe("smoke", {**QUICK, "max_length": 512, **settings})


def test_fp16_clashes_with_bf16_adapters(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """The published fp16=True cannot train QLoRA adapters on today's TRL (trap 1); the recipes use bf16."""
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
    assert result["steps"] == 4 and result["loss"] > 0


def test_a_full_gpu_halves_the_micro_batch(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """The allocator itself runs out: what one row needs fits, what eight need does not."""
    settings = {"max_steps": 2, "batch_size": 8, "eval_every": None, "checkpointing": False}
    peaks = {}
    for rows in (1, 8):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        train_adapter(quick(**settings, micro_batch=rows), dataset, str(base_model), tmp_path / str(rows))
        peaks[rows] = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((peaks[1] + peaks[8]) / 2 / total)
    try:
        train_adapter(quick(**settings, micro_batch=8, seed=43), dataset, str(base_model), tmp_path / "full")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    pieces = json.loads((tmp_path / "full" / "training.json").read_text())["micro_batch_pieces"]
    print(f"\nMiB reserved { ({k: v >> 20 for k, v in peaks.items()}) }, pieces {pieces}")
    assert pieces > 1


def test_resuming_is_as_close_as_running_twice(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """On a GPU not even an identical rerun is bit-equal; a resumed one must not be further off (trap 2)."""
    from insurance_rag.training import trainer as trainer_module

    def run(name: str, **settings: Any) -> dict[str, torch.Tensor]:
        train_adapter(quick(**settings), dataset, str(base_model), tmp_path / name)
        return load_file(tmp_path / name / "adapter_model.safetensors")

    def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
        return max(float((a[k].float() - b[k].float()).abs().max()) for k in a)

    straight, again = run("straight"), run("again")
    train = trainer_module.AdapterTrainer.training_step

    def stop_at_3(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3:
            raise RuntimeError("power cut")
        return train(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(trainer_module.AdapterTrainer, "training_step", stop_at_3)
        run("resumed")
    resumed = run("resumed")
    print(f"\nlargest difference: rerun {distance(straight, again):.2e}, resumed {distance(straight, resumed):.2e}")
    assert distance(straight, resumed) <= max(2 * distance(straight, again), 2e-3)
