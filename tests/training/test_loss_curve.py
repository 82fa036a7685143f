"""The fast settings learn what plain TRL learns: the same rows and seed give the same loss curve.

On a GPU it runs in bfloat16 with variable-length attention and Liger's kernels; `pytest -s` prints the curves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from tests.training.conftest import losses_of, quick

from insurance_rag.core.prompt_templates import RAG
from insurance_rag.models.quantization import disable_cpu_repacking
from insurance_rag.training import train_adapter

LEARNING_RATE = 2e-3
#: Largest difference of a step's loss: a different order of sums on a CPU, the rounding of bfloat16 on a GPU.
TOLERANCE = 0.05 if torch.cuda.is_available() else 0.001
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
LORA = {"target_modules": "all-linear", "use_rslora": True, "init_lora_weights": "gaussian"}
#: The queries and keys of the small base model have rows of zeros, for which DoRA is undefined.
DORA = {"use_dora": True, "target_modules": ["v_proj", "o_proj", "up_proj"]}


@dataclass(frozen=True)
class Option:
    """A setting of a recipe, and the equivalent setting of plain TRL."""

    recipe: Mapping[str, object] = field(default_factory=dict)
    lora: Mapping[str, object] = field(default_factory=dict)
    """Arguments of peft's LoraConfig."""
    trainer: Mapping[str, object] = field(default_factory=dict)
    """Arguments of TRL's SFTConfig."""
    steps: int = 3
    nf4: bool = True
    """Without NF4, TRL too keeps adapters in fp32; with NF4, it keeps them in bf16."""

    @property
    def has_noise(self) -> bool:
        """Whether random numbers are drawn per row, so that both sides need the same micro-batches."""
        return "neftune_noise_alpha" in self.trainer


def same(**arguments: object) -> Option:
    """Return an option that has the same name in the recipe and in TRL."""
    return Option(recipe=arguments, trainer=arguments)


OPTIONS = {
    "default": Option(steps=8),
    "all-linear, rslora, gaussian": Option({"lora": LORA}, LORA, nf4=False),
    "dora": Option({"lora": DORA}, DORA),
    "dora, fp32 adapters": Option({"lora": DORA}, DORA, nf4=False),
    "optimizer, cosine, warm-up share": same(
        weight_decay=5.0,
        max_grad_norm=0.05,
        adam_beta1=0.5,
        adam_beta2=0.6,
        lr_scheduler_type="cosine",
        warmup_steps=0.5,
    ),
    "neftune": Option(
        {"neftune_noise_alpha": 20.0, "padding_free": False}, trainer={"neftune_noise_alpha": 20.0}, nf4=False
    ),
}


def plain_trl_losses(base_model: Path, dataset: Path, out: Path, option: Option, *, on_gpu: bool) -> list[float]:
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
        base_model, dtype=dtype, quantization_config=quantization if option.nf4 else None,
        device_map={"": 0 if on_gpu else "cpu"},
    )  # fmt: skip
    disable_cpu_repacking(base)
    set_seed(42)
    arguments = {
        "output_dir": str(out), "per_device_train_batch_size": 1 if option.has_noise else 2,
        "gradient_accumulation_steps": 1 if option.has_noise else 2, "max_steps": option.steps,
        "learning_rate": LEARNING_RATE, "warmup_steps": 0, "max_length": None, "logging_steps": 1,
        "save_strategy": "no", "seed": 42, "bf16": on_gpu, "use_cpu": not on_gpu, "gradient_checkpointing": False,
        "optim": "adamw_torch_fused", "disable_tqdm": True,
    }  # fmt: skip
    lora = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "task_type": "CAUSAL_LM", "target_modules": ATTENTION}
    trainer = SFTTrainer(
        model=base,
        args=SFTConfig(**(arguments | dict(option.trainer))),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base_model),
        peft_config=LoraConfig(**(lora | dict(option.lora))),
    )
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def fast_losses(base_model: Path, dataset: Path, out: Path, option: Option) -> list[float]:
    """Train with the product's settings and micro-batches of another size."""
    settings = {
        "max_steps": option.steps, "batch_size": 1 if option.has_noise else 4,
        "per_device_train_batch_size": 1 if option.has_noise else 4, "learning_rate": LEARNING_RATE,
        "warmup_steps": 0, "eval_steps": None, "quantization": "nf4" if option.nf4 else "none",
        "adapter_dtype": "bf16" if option.nf4 else "auto",
    }  # fmt: skip
    train_adapter(quick(**(settings | dict(option.recipe))), dataset, str(base_model), out)
    return losses_of(out)


@pytest.fixture(scope="module")
def default_losses(base_model: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return fast_losses(base_model, dataset, tmp_path_factory.mktemp("default") / "fast", OPTIONS["default"])


@pytest.mark.parametrize("name", OPTIONS)
def test_loss_curve_equals_plain_trl(
    name: str, base_model: Path, dataset: Path, tmp_path: Path, default_losses: list[float]
) -> None:
    option = OPTIONS[name]
    plain = plain_trl_losses(base_model, dataset, tmp_path / "plain", option, on_gpu=torch.cuda.is_available())
    fast = default_losses if name == "default" else fast_losses(base_model, dataset, tmp_path / "fast", option)
    difference = max(abs(a - b) for a, b in zip(plain, fast, strict=True))
    effect = max(abs(a - b) for a, b in zip(fast, default_losses, strict=False))
    print(
        f"\n{name}: TRL {plain}\nfast {fast}\nlargest difference {difference:.5f}, allowed {TOLERANCE}; {effect=:.5f}"
    )
    assert difference < TOLERANCE and min(plain) > 0  # TRL logs a loss that is not a number as zero
    if name == "default":
        assert fast[-1] < fast[0] - 0.1  # the model learns, so there is a curve to compare
    elif option.recipe:
        assert effect > difference  # the option changes the curve more than rounding does
