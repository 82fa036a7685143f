"""NF4 quantization: the configuration, the rounding, and the CPU work-around."""

from __future__ import annotations

import bitsandbytes as bnb
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from insurance_rag.models.quantization import disable_cpu_repacking, nf4_config, round_to_nf4


def test_configuration() -> None:
    config = nf4_config(torch.bfloat16, double_quantization=True)
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "nf4")
    assert (config.bnb_4bit_use_double_quant, config.bnb_4bit_compute_dtype) == (True, torch.bfloat16)
    assert config.bnb_4bit_quant_storage == torch.uint8
    assert nf4_config(torch.float32, double_quantization=False, storage_dtype=torch.float32).bnb_4bit_quant_storage == (
        torch.float32
    )


@pytest.mark.parametrize("double_quantization", [True, False])
def test_rounding_keeps_head_and_dtype(double_quantization: bool) -> None:
    torch.manual_seed(0)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=100, num_key_value_heads=2, **size))
    head = model.lm_head.weight.clone()
    weight = model.model.layers[0].mlp.up_proj.weight.clone()
    round_to_nf4(model, double_quantization=double_quantization)
    rounded = model.model.layers[0].mlp.up_proj.weight
    assert torch.equal(model.lm_head.weight, head) and rounded.dtype == weight.dtype
    error = (rounded - weight).norm() / weight.norm()
    assert 0.02 < error < 0.15
    if not double_quantization:  # with exact scales the NF4 values are fixed points
        again = rounded.clone()
        round_to_nf4(model, double_quantization=False)
        assert torch.allclose(model.model.layers[0].mlp.up_proj.weight, again, atol=1e-6)


def test_repacking_is_disabled_in_every_layer() -> None:
    layer = bnb.nn.Linear4bit(64, 64)
    layer.support_avx512bf16_for_cpu = True
    disable_cpu_repacking(torch.nn.Sequential(layer))
    assert not layer.support_avx512bf16_for_cpu
