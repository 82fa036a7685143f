"""Memory presets, and the estimate behind `memory_preset: auto`, compared with peaks measured on one H100."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from insurance_rag.core.records import MemoryPlan
from insurance_rag.models.devices import Device
from insurance_rag.training import load_recipe
from insurance_rag.training.memory import USABLE_SHARE, plan_memory
from insurance_rag.training.memory_advice import fitting_settings
from insurance_rag.training.memory_estimate import model_shape

LLAMA_8B = LlamaConfig(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=8, tie_word_embeddings=False,
)  # fmt: skip
SHAPE = model_shape(LLAMA_8B, ("q_proj", "k_proj", "v_proj", "o_proj"))
LENGTHS = [int(min(2048, max(96, random.Random(i).lognormvariate(6.7, 0.5)))) for i in range(5434)]
LIGER = {"memory_preset": "80GB", "use_liger_kernel": True}


def plan_with_liger(free_gib: float = 79.0, count: int = 1, **settings: object) -> MemoryPlan:
    config = load_recipe("v3", {"use_liger_kernel": True, **settings})
    return plan_memory(config, SHAPE, LENGTHS[:500], Device("cuda", "H100", free_gib, (9, 0), count))


def test_shape_of_an_8b_model() -> None:
    assert SHAPE.linear_parameters == pytest.approx(6.98e9, rel=0.001)
    assert SHAPE.embedding_parameters == 2 * 128256 * 4096
    assert 16 * SHAPE.adapted == 13_631_488  # the number of LoRA parameters that peft reports at rank 16


@pytest.mark.parametrize(
    ("measured", "settings"),
    [  # peak GiB allocated with this shape and these lengths on one H100 (docs/results/training.md)
        (11.36, {"profile": "reference", "batch_size": 8, "per_device_train_batch_size": 2}),
        (15.04, {"profile": "reference"}),
        (70.36, LIGER),
        (9.68, {**LIGER, "memory_preset": "24GB"}),
        # one H200
        (6.33, {**LIGER, "memory_preset": "8GB"}),
        (48.43, {**LIGER, "per_device_train_batch_size": 8, "torch_compile": True, "compute": "cached"}),
    ],
)
def test_estimate_is_close_to_the_measured_peak(measured: float, settings: dict[str, object]) -> None:
    config = load_recipe("v3", settings)
    plan = plan_memory(config, SHAPE, LENGTHS, Device("cuda", "H100", 79.0, (9, 0)))
    assert plan.estimate_gib == pytest.approx(measured, rel=0.05)


def test_auto_selects_the_fastest_layout_that_fits() -> None:
    large, medium, small = (plan_with_liger(free_gib) for free_gib in (79.0, 23.0, 8.0))
    assert large.preset == "80GB" and not large.gradient_checkpointing
    assert medium.preset == "24GB" and medium.gradient_checkpointing
    assert small.preset == "8GB" and small.optim == "adamw_8bit"
    assert plan_with_liger(3.0).per_device_train_batch_size == 1  # nothing fits, so the smallest layout is returned


@given(free_gib=st.floats(2, 200), rows=st.integers(1, 64), count=st.sampled_from([1, 2, 4]))
def test_plan_keeps_the_batch_size_and_fits(free_gib: float, rows: int, count: int) -> None:
    plan = plan_with_liger(free_gib, count, batch_size=rows * count)
    assert plan.per_device_train_batch_size * plan.gradient_accumulation_steps == rows
    fits = plan.estimate_gib <= USABLE_SHARE * free_gib
    assert fits or plan.per_device_train_batch_size == 1 or plan.gradient_checkpointing


@pytest.mark.parametrize(
    ("free_gib", "settings", "advice"),
    [
        (30.0, {"memory_preset": "80GB"}, "memory_preset=auto (about"),
        (9.0, {"gradient_checkpointing": False}, "gradient_checkpointing=auto (about"),
        (7.0, {"quantization": "none"}, "quantization=nf4 (about"),
        (5.0, {}, "max_length="),
        (3.0, {}, None),
    ],
)
def test_advice_names_settings_that_fit(free_gib: float, settings: dict[str, object], advice: str | None) -> None:
    config, device = load_recipe("v3", settings), Device("cuda", "GPU", free_gib, (8, 6))
    assert plan_memory(config, SHAPE, LENGTHS, device).estimate_gib > free_gib
    found = fitting_settings(config, SHAPE, LENGTHS, device)
    assert found == advice if advice is None else advice in str(found)


def test_settings_override_the_preset() -> None:
    plan = plan_with_liger(
        memory_preset="80GB",
        per_device_train_batch_size=2,
        gradient_checkpointing=True,
        optim="paged_adamw_32bit",
        double_quantization=True,
    )
    assert (plan.per_device_train_batch_size, plan.gradient_accumulation_steps) == (2, 8)
    assert plan.gradient_checkpointing and plan.double_quantization
    assert plan.optim == "paged_adamw_32bit"


def test_estimate_grows_with_adapter_size_and_precision() -> None:
    def adapter_gib(**settings: object) -> float:
        config = load_recipe("v3", {"memory_preset": "24GB", **settings})
        shape = model_shape(LLAMA_8B, config.lora.target_modules)
        return plan_memory(config, shape, LENGTHS, Device("cuda", "H100", 79.0, (9, 0))).estimate_gib

    fp32, bf16 = adapter_gib(), adapter_gib(adapter_dtype="bf16")
    assert fp32 - bf16 == pytest.approx(13_631_488 * 8 / 2**30, abs=0.02)  # 4 numbers per parameter, 2 bytes more each
    all_linear = adapter_gib(lora={"target_modules": "all-linear"})
    parameters = (41_943_040 - 13_631_488) * 16 / 2**30
    assert parameters + 0.3 < all_linear - fp32 < parameters + 0.7  # adapters keep the inputs of the MLP layers
    assert adapter_gib(lora={"target_modules": "all-linear", "use_dora": True}) > all_linear + 0.5


def test_estimate_grows_with_dropout_and_16_bit_weights() -> None:
    medium, large = plan_with_liger(memory_preset="24GB"), plan_with_liger(memory_preset="80GB")
    assert plan_with_liger(memory_preset="24GB", lora={"dropout": 0.05}).estimate_gib > medium.estimate_gib
    assert plan_with_liger(memory_preset="80GB", quantization="none").estimate_gib > large.estimate_gib + 8
    assert "no checkpointing" in str(large)
