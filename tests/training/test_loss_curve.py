"""The fast settings learn what plain TRL learns: the same rows and seed give the same loss curve.

On a GPU it runs in bfloat16 with variable-length attention and Liger's kernels; `pytest -s` prints the curves.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tests.training.conftest import losses_of, quick

from insurance_rag.core.prompt_templates import RAG
from insurance_rag.models.quantization import disable_cpu_repacking
from insurance_rag.training import train_adapter

STEPS, LEARNING_RATE = 10, 2e-3
#: Largest difference of a step's loss: a different order of sums on a CPU, the rounding of bfloat16 on a GPU.
TOLERANCE = 0.05 if torch.cuda.is_available() else 0.001


def plain_trl_losses(base_model: Path, dataset: Path, out: Path, *, on_gpu: bool) -> list[float]:
    """Train with TRL as its documentation describes: text columns, padded batches, its own sampler and masks."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, set_seed
    from trl import SFTConfig, SFTTrainer

    dtype = torch.bfloat16 if on_gpu else torch.float32
    rows = json.loads((dataset / "train_dataset_rag.json").read_text())
    rows = [{"prompt": row["prompt"], "completion": row["completion"].removesuffix(RAG.end_of_text)} for row in rows]
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    base = AutoModelForCausalLM.from_pretrained(
        base_model, dtype=dtype, quantization_config=quantization, device_map={"": 0 if on_gpu else "cpu"}
    )
    disable_cpu_repacking(base)
    set_seed(42)
    trainer = SFTTrainer(
        model=base,
        args=SFTConfig(
            output_dir=str(out), per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=STEPS,
            learning_rate=LEARNING_RATE, warmup_steps=0, max_length=None, logging_steps=1, save_strategy="no", seed=42,
            bf16=on_gpu, use_cpu=not on_gpu, gradient_checkpointing=False, optim="adamw_torch_fused", disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base_model),
        peft_config=LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.0, task_type="CAUSAL_LM",
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        ),
    )  # fmt: skip
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def fast_losses(base_model: Path, dataset: Path, out: Path) -> list[float]:
    """Train with the product's settings and micro-batches of another size."""
    recipe = quick(
        max_steps=STEPS,
        batch_size=8,
        per_device_train_batch_size=4,
        learning_rate=LEARNING_RATE,
        warmup_steps=0,
        eval_steps=None,
        adapter_dtype="bf16",
    )
    train_adapter(recipe, dataset, str(base_model), out)
    return losses_of(out)


def test_loss_curve_equals_plain_trl(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    plain = plain_trl_losses(base_model, dataset, tmp_path / "plain", on_gpu=torch.cuda.is_available())
    fast = fast_losses(base_model, dataset, tmp_path / "fast")
    difference = max(abs(a - b) for a, b in zip(plain, fast, strict=True))
    print(f"\nplain TRL {plain}\nfast      {fast}\nlargest difference {difference:.5f}, allowed {TOLERANCE}")
    assert fast[-1] < fast[0] - 0.1  # the model learns, so there is a curve to compare
    assert difference < TOLERANCE
