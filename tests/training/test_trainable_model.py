"""Base model and trainer arguments: quantization, dtypes, and behaviour of libraries that the training relies on."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from tests.training.conftest import model_config
from trl import SFTConfig

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import MemoryPlan
from insurance_rag.models.devices import Device, find_device
from insurance_rag.training import load_recipe
from insurance_rag.training.memory import plan_memory
from insurance_rag.training.memory_estimate import model_shape
from insurance_rag.training.sft_config import sft_config
from insurance_rag.training.trainable_model import load_trainable_model


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


@pytest.mark.parametrize("removed", ["max_seq_length", "warmup_ratio"])
def test_arguments_that_trl_removed(removed: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        SFTConfig(output_dir=str(tmp_path), **{removed: 1})


def test_gpus_use_bf16_and_fp16_is_rejected(base_model: Path) -> None:
    with pytest.raises(InvalidInputError, match="compute_dtype"):
        load_recipe("v1", {"compute_dtype": "fp16"})
    v3 = load_recipe("v3")
    shape = model_shape(model_config(base_model), v3.lora.target_modules)
    plan = plan_memory(v3, shape, [900], Device("cuda", "H100", 79.0, (9, 0)))
    assert plan.compute_dtype == plan.adapter_dtype == "bf16"
