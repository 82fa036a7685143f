"""The base model: pad and end-of-text, the CPU repacking trap, dtypes, and that SDK facts still hold."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from trl import SFTConfig

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.training import load_recipe
from insurance_rag.training.memory import Device, Plan, make_plan, shape_of
from insurance_rag.training.model import find_device, forbid_cpu_repacking, load_base, load_tokenizer
from insurance_rag.training.trainer import sft_config


def plan_for(base_model: Path, **settings: Any) -> tuple[Any, Plan]:
    from transformers import AutoConfig

    config = load_recipe("smoke", settings)
    shape = shape_of(AutoConfig.from_pretrained(base_model), config.lora.target_modules)
    return config, make_plan(config, shape, [100, 120, 90], find_device())


def test_pad_is_never_the_end_of_text(base_model: Path, tmp_path: Path) -> None:
    """Where both are one token, a collator that masks padding masks the answer's end too (trap 5)."""
    from transformers import AutoTokenizer

    tokenizer = load_tokenizer(str(base_model))
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id) and tokenizer.padding_side == "right"
    bad = AutoTokenizer.from_pretrained(base_model)
    bad.pad_token = bad.eos_token
    bad.save_pretrained(tmp_path)
    shutil.copy(base_model / "config.json", tmp_path)
    mended = load_tokenizer(str(tmp_path))
    assert mended.pad_token == "<|pad|>" and mended.pad_token_id != mended.eos_token_id


def test_without_a_spare_token_the_way_out_is_named(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"a": 0, "</s>": 1}))
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", pad_token="</s>").save_pretrained(tmp_path / "a")
    with pytest.raises(InvalidInputError, match="no spare token"):
        load_tokenizer(str(tmp_path / "a"))
    PreTrainedTokenizerFast(tokenizer_object=inner).save_pretrained(tmp_path / "b")
    with pytest.raises(InvalidInputError, match="names no end-of-text token"):
        load_tokenizer(str(tmp_path / "b"))


def test_evaluating_does_not_spoil_the_weights(base_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CPUs with avx512_bf16 an eval forward repacks 4-bit weights, and the next gradient is garbage (trap 8)."""
    config, plan = plan_for(base_model)
    base = load_base(str(base_model), config, plan)
    layers = [m for m in base.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert len(layers) == 14 and not any(layer.support_avx512bf16_for_cpu for layer in layers)

    def gradient(layer: Any) -> torch.Tensor:
        x = torch.linspace(-1, 1, 192, device=layer.weight.device)[None].requires_grad_()
        layer.train()(x).sum().backward()
        assert x.grad is not None
        return x.grad

    layer = layers[0]
    before = gradient(layer)
    with torch.no_grad():
        layer.eval()(torch.ones(2, 192, dtype=torch.bfloat16, device=layer.weight.device))
    assert torch.equal(gradient(layer), before)
    broken = bnb.nn.Linear4bit(64, 64)
    broken.support_avx512bf16_for_cpu = True
    forbid_cpu_repacking(torch.nn.Sequential(broken))
    assert not broken.support_avx512bf16_for_cpu


def test_the_base_is_not_cast_to_fp32(base_model: Path) -> None:
    """peft's preparation would cast norms and embeddings; only the source profile asks for it."""
    config, plan = plan_for(base_model, compute="bf16")
    dtypes = {p.dtype for p in load_base(str(base_model), config, plan).parameters()}
    assert dtypes == {torch.uint8, torch.bfloat16}
    config, plan = plan_for(base_model, compute="bf16", kbit_preparation=True)
    assert torch.float32 in {p.dtype for p in load_base(str(base_model), config, plan).parameters()}


def test_a_16_bit_base_is_not_quantised(base_model: Path) -> None:
    config, plan = plan_for(base_model, quantization="none", compute="bf16", padding_free=False)
    base = load_base(str(base_model), config, plan)
    assert not any(isinstance(m, bnb.nn.Linear4bit) for m in base.modules())
    assert base.config._attn_implementation == "sdpa"


def test_the_recipe_in_trls_words(base_model: Path, tmp_path: Path) -> None:
    """Names that came and went (trap 7), no limit that cuts answers (trap 6), and bf16 rather than fp16 (trap 1)."""
    config, plan = plan_for(base_model)
    args = sft_config(config, plan, tmp_path, evaluate=True)
    assert args.max_length is None and args.padding_free and not args.packing
    assert args.dataset_kwargs == {"skip_prepare_dataset": True}
    assert not args.fp16 and args.eval_strategy == "steps" and args.save_total_limit == 2
    v3 = load_recipe("v3")
    assert sft_config(v3, plan, tmp_path, evaluate=False).warmup_steps == 0.03  # below 1: a share
    assert sft_config(load_recipe("v1"), plan, tmp_path, evaluate=False).warmup_steps == 10
    for gone in ("max_seq_length", "warmup_ratio"):
        with pytest.raises(TypeError):
            SFTConfig(output_dir=str(tmp_path), **{gone: 1})
    with pytest.raises(InvalidInputError, match="compute"):
        load_recipe("v1", {"compute": "fp16"})
    device = Device("cuda", "H100", 79.0, (9, 0))
    cuda = make_plan(v3, shape_of(_config(base_model), v3.lora.target_modules), [900], device)
    assert cuda.compute == cuda.adapter_dtype == "bf16"


def _config(base_model: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base_model)
