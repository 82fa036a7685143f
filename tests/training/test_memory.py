"""The layout on the card: presets, the estimate behind `auto`, and what was measured on one H100."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from insurance_rag.training import load_recipe
from insurance_rag.training.memory import HEADROOM, Device, Plan, make_plan, shape_of

LLAMA_8B = LlamaConfig(
    vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=8, tie_word_embeddings=False,
)  # fmt: skip
SHAPE = shape_of(LLAMA_8B, ("q_proj", "k_proj", "v_proj", "o_proj"))
LENGTHS = [int(min(2048, max(96, random.Random(i).lognormvariate(6.7, 0.5)))) for i in range(2000)]


def plan(free_gib: float = 79.0, count: int = 1, **settings: Any) -> Plan:
    config = load_recipe("v3", {"liger": True, **settings})
    return make_plan(config, SHAPE, LENGTHS, Device("cuda", "H100", free_gib, (9, 0), count))


def test_the_shape_of_an_8b_model() -> None:
    assert SHAPE.linear_parameters == pytest.approx(6.98e9, rel=0.001)
    assert SHAPE.embedding_parameters == 2 * 128256 * 4096
    assert 16 * SHAPE.adapted == 13_631_488  # the LoRA parameters that peft reports at rank 16


@pytest.mark.parametrize(
    ("measured", "settings"),
    [  # peak GiB allocated with this shape and these lengths on one H100 (docs/results/training.md)
        (11.36, {"profile": "source", "batch_size": 8, "micro_batch": 2}),
        (15.04, {"profile": "source"}),
        (70.36, {"memory": "80GB", "liger": True}),
        (50.57, {"memory": "80GB", "liger": True, "micro_batch": 8, "quantization": "none"}),
    ],
)
def test_the_estimate_is_near_what_was_measured(measured: float, settings: dict[str, Any]) -> None:
    config = load_recipe("v3", settings)
    made = make_plan(config, SHAPE, LENGTHS, Device("cuda", "H100", 79.0, (9, 0)))
    assert made.estimate_gib == pytest.approx(measured, rel=0.15)


def test_auto_takes_the_fastest_layout_that_fits() -> None:
    assert plan(79.0).preset == "80GB" and not plan(79.0).checkpointing
    assert plan(23.0).preset == "24GB" and plan(23.0).checkpointing
    assert plan(8.0).preset == "8GB" and plan(8.0).optimizer == "adamw_8bit"
    assert plan(3.0).micro_batch == 1  # nothing fits: the least one, and the preflight says no


@given(free=st.floats(2, 200), batch=st.integers(1, 64), count=st.sampled_from([1, 2, 4]))
def test_a_plan_keeps_the_batch_and_fits(free: float, batch: int, count: int) -> None:
    batch *= count
    made = plan(free, count, batch_size=batch)
    assert made.micro_batch * made.accumulation * count == batch
    assert made.estimate_gib <= HEADROOM * free or made.micro_batch == 1 or made.checkpointing


def test_settings_win_over_the_preset() -> None:
    made = plan(
        memory="80GB", micro_batch=2, checkpointing=True, optimizer="paged_adamw_32bit", double_quantization=True
    )
    assert (made.micro_batch, made.accumulation, made.checkpointing) == (2, 8, True)
    assert (made.optimizer, made.double_quantization) == ("paged_adamw_32bit", True)
    assert plan(memory="24GB", lora={"dropout": 0.05}).estimate_gib > plan(memory="24GB").estimate_gib
    assert plan(quantization="none", memory="80GB").estimate_gib > plan(memory="80GB").estimate_gib + 8
    assert "no checkpointing" in str(plan(memory="80GB"))
