"""Base model and trainer arguments: quantization, dtypes, and behaviour of libraries that the training relies on."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from peft import get_peft_model
from tests.training.conftest import model_config
from transformers import LlamaConfig
from trl import SFTConfig

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import MemoryPlan
from insurance_rag.models.devices import Device, find_device
from insurance_rag.training import load_recipe
from insurance_rag.training.memory import plan_memory
from insurance_rag.training.memory_estimate import model_shape
from insurance_rag.training.sft_config import sft_config
from insurance_rag.training.trainable_model import (
    layers_are_random,
    load_trainable_model,
    lora_config,
    set_adapter_dtype,
)


def recipe_and_plan(base_model: Path, **settings: object) -> tuple[TrainingConfig, MemoryPlan]:
    config = load_recipe("smoke", settings)
    shape = model_shape(model_config(base_model), config.lora.target_modules)
    return config, plan_memory(config, shape, [100, 120, 90], find_device())


def dtypes(model: torch.nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in model.parameters()}


def test_quantized_model_is_not_repacked_on_a_cpu(base_model: Path) -> None:
    """An evaluation pass must leave the gradients as they were, also on CPUs with avx512_bf16."""
    config, plan = recipe_and_plan(base_model)
    model = load_trainable_model(str(base_model), config, plan)
    layers = [m for m in model.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert len(layers) == 14 and not any(layer.support_avx512bf16_for_cpu for layer in layers)

    def gradient(layer: torch.nn.Module) -> torch.Tensor:
        x = torch.linspace(-1, 1, 192, device=layer.weight.device)[None].requires_grad_()
        layer.train()(x).sum().backward()
        assert x.grad is not None
        return x.grad

    layer = layers[0]
    before = gradient(layer)
    with torch.no_grad():
        layer.eval()(torch.ones(2, 192, dtype=torch.bfloat16, device=layer.weight.device))
    assert torch.equal(gradient(layer), before)


def test_base_model_is_not_cast_to_fp32(base_model: Path) -> None:
    """peft's preparation casts norms and embeddings; only the reference profile uses it."""
    config, plan = recipe_and_plan(base_model, compute_dtype="bf16")
    assert dtypes(load_trainable_model(str(base_model), config, plan)) == {torch.uint8, torch.bfloat16}
    config, plan = recipe_and_plan(base_model, compute_dtype="bf16", prepare_for_kbit_training=True)
    assert torch.float32 in dtypes(load_trainable_model(str(base_model), config, plan))


def test_16_bit_base_model_is_not_quantized(base_model: Path) -> None:
    config, plan = recipe_and_plan(base_model, quantization="none", compute_dtype="bf16", padding_free=False)
    model = load_trainable_model(str(base_model), config, plan)
    assert not any(isinstance(m, bnb.nn.Linear4bit) for m in model.modules())
    assert model.config._attn_implementation == "sdpa"


def test_trainer_arguments(base_model: Path, tmp_path: Path) -> None:
    """No limit of TRL's cuts rows, and warm-up below 1 is a fraction of the run."""
    config, plan = recipe_and_plan(base_model)
    args = sft_config(config, plan, tmp_path, evaluate=True)
    assert args.max_length is None and args.padding_free and not args.packing
    assert args.dataset_kwargs == {"skip_prepare_dataset": True}
    assert not args.fp16 and args.eval_strategy == "steps" and args.save_total_limit == 2
    assert sft_config(load_recipe("v3"), plan, tmp_path, evaluate=False).warmup_steps == 0.03
    assert sft_config(load_recipe("v1"), plan, tmp_path, evaluate=False).warmup_steps == 10


def test_random_state_is_saved_if_layers_need_it() -> None:
    """A recomputed layer with another dropout mask would have wrong gradients."""
    plain, dropout = load_recipe("v3"), load_recipe("v3", {"lora": {"dropout": 0.1}})
    assert not layers_are_random(LlamaConfig(), plain)
    assert layers_are_random(LlamaConfig(), dropout)
    assert layers_are_random(LlamaConfig(attention_dropout=0.1), plain)


@pytest.mark.parametrize("removed", ["max_seq_length", "warmup_ratio"])
def test_arguments_that_trl_removed(removed: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        SFTConfig(output_dir=str(tmp_path), **{removed: 1})


def test_trainer_arguments_of_the_optimizer(base_model: Path, tmp_path: Path) -> None:
    settings = {
        "weight_decay": 0.1, "adam_beta1": 0.8, "adam_beta2": 0.95, "max_grad_norm": 0.3, "neftune_noise_alpha": 5.0,
    }  # fmt: skip
    config, plan = recipe_and_plan(base_model, **settings, padding_free=False)
    args = sft_config(config, plan, tmp_path, evaluate=False)
    assert {name: getattr(args, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("settings", "adapter", "magnitude"),
    [({}, torch.float32, torch.float32), ({"adapter_dtype": "bf16"}, torch.bfloat16, torch.float32)],
)
def test_adapters_are_fp32_unless_the_recipe_says_bf16(
    base_model: Path, settings: dict[str, object], adapter: torch.dtype, magnitude: torch.dtype
) -> None:
    lora = {"use_dora": True, "target_modules": "v_proj"}
    config, plan = recipe_and_plan(base_model, compute_dtype="bf16", lora=lora, **settings)
    model = get_peft_model(load_trainable_model(str(base_model), config, plan), lora_config(config))
    set_adapter_dtype(model, plan.adapter_dtype)
    trainable = {name: p.dtype for name, p in model.named_parameters() if p.requires_grad}
    assert {dtype for name, dtype in trainable.items() if "magnitude" not in name} == {adapter}
    assert {dtype for name, dtype in trainable.items() if "magnitude" in name} == {magnitude}


def test_gpus_use_bf16_and_fp16_is_rejected(base_model: Path) -> None:
    with pytest.raises(InvalidInputError, match="compute_dtype"):
        load_recipe("v1", {"compute_dtype": "fp16"})
    v3 = load_recipe("v3")
    shape = model_shape(model_config(base_model), v3.lora.target_modules)
    plan = plan_memory(v3, shape, [900], Device("cuda", "H100", 79.0, (9, 0)))
    assert (plan.compute_dtype, plan.adapter_dtype) == ("bf16", "fp32")
