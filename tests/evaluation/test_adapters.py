"""Every kind of adapter that training makes is attached as PEFT attaches it; other kinds are rejected early."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.evaluation.tiny import make_adapter, make_base
from transformers import LlamaForCausalLM, PreTrainedModel

from insurance_rag.config import EvaluationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.evaluation.backends.local.backend import LocalBackend
from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora
from insurance_rag.models.base_model import load_base_model
from insurance_rag.models.quantization import nf4_config

pytestmark = pytest.mark.slow  # every test loads a model

KINDS: dict[str, dict[str, object]] = {
    "lora": {},
    "rslora": {"use_rslora": True, "r": 9},
    "dora": {"use_dora": True},
    "all_linear": {"target_modules": "all-linear", "r": 2},
    "dora_all_linear": {"target_modules": "all-linear", "use_dora": True, "use_rslora": True, "r": 3},
    "patterns": {"rank_pattern": {"q_proj": 6}, "alpha_pattern": {"layers.1.self_attn.v_proj": 3}, "use_rslora": True},
}
IDS = torch.arange(60).reshape(2, 30) * 7 % 600


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a base model whose attention layers have a bias, which DoRA must not scale."""
    return make_base(tmp_path_factory.mktemp("base"), attention_bias=True)


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: _with_magnitudes(make_adapter(base, folder / name, seed, **settings))
        for seed, (name, settings) in enumerate(KINDS.items())
    }


def _with_magnitudes(adapter: Path) -> Path:
    """Change the magnitudes of a DoRA adapter, which otherwise are the norms of the base weights."""
    path = adapter / "adapter_model.safetensors"
    torch.manual_seed(0)
    tensors = {
        name: tensor * (1 + 0.3 * torch.rand(tensor.shape)) if "magnitude" in name else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(tensors, path, {"format": "pt"})
    return adapter


def _load(base: Path, *, nf4: bool) -> PreTrainedModel:
    torch.manual_seed(0)
    quantization = nf4_config(torch.float32, double_quantization=True) if nf4 else None
    model = load_base_model(str(base), torch.float32, quantization=quantization).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("proj.bias"):
            parameter.data.normal_()
    return model


@torch.no_grad()
def _peft_logits(base: Path, adapters: Mapping[str, Path], *, nf4: bool) -> dict[str, torch.Tensor]:
    """Return the logits with one adapter at a time."""
    return {
        name: PeftModel.from_pretrained(_load(base, nf4=nf4), folder).eval()(IDS).logits
        for name, folder in adapters.items()
    }


@pytest.mark.parametrize("nf4", [False, True], ids=["fp32", "nf4"])
@torch.no_grad()
def test_logits_equal_peft(base: Path, adapters: dict[str, Path], nf4: bool) -> None:
    """All adapters share one batch, next to rows of the base model."""
    expected = _peft_logits(base, adapters, nf4=nf4)
    model = _load(base, nf4=nf4)
    expected["Base"] = model(IDS).logits
    lora = BatchedLora(model, adapters)
    names = [name for name in expected for _ in IDS]
    lora.select(names)
    logits = model(IDS.repeat(len(expected), 1)).logits.split(len(IDS))
    for name, found in zip(expected, logits, strict=True):
        scale = expected[name].abs().max()
        assert torch.allclose(found / scale, expected[name] / scale, atol=1e-5), name
        assert name == "Base" or (expected[name] - expected["Base"]).abs().max() > 0.1 * scale, name
    lora.remove()
    assert torch.equal(model(IDS).logits, expected["Base"])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"modules_to_save": ["lm_head"]},
            "modules_to_save cannot be applied to some rows of a batch; use --reference",
        ),
        ({"bias": "all"}, "bias cannot be applied"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices cannot be applied"),
        (
            {"target_modules": ["embed_tokens"]},
            "embed_tokens.base_layer.weight is not one of LoRA or DoRA; use --reference",
        ),
    ],
)
def test_other_kinds_are_rejected_before_loading(
    base: Path, tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    odd = make_adapter(base, tmp_path / "odd", 3, **settings)
    with pytest.raises(InvalidInputError, match=reason):
        LocalBackend(str(base), {"v1": odd}, EvaluationConfig())


def test_adapter_that_changed_its_base_model_is_rejected(base: Path, tmp_path: Path) -> None:
    odd = make_adapter(base, tmp_path / "pissa", 3, init_lora_weights="pissa")
    with pytest.raises(InvalidInputError, match="initialization pissa changed the base model; convert it"):
        LocalBackend(str(base), {"v1": odd}, EvaluationConfig())


def test_incomplete_folders_are_rejected(base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(base, tmp_path / "a", 3)
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(b"torn")
    with pytest.raises(InvalidInputError, match=r"cannot be read .* train the adapter again"):
        LocalBackend(str(base), {"v1": adapter}, EvaluationConfig())
    weights.unlink()
    with pytest.raises(InvalidInputError, match=r"adapter_model\.safetensors is missing"):
        LocalBackend(str(base), {"v1": adapter}, EvaluationConfig())
    with pytest.raises(InvalidInputError, match="not an adapter folder"):
        LocalBackend(str(base), {"v1": tmp_path}, EvaluationConfig())


def test_all_linear_does_not_adapt_the_output_head(base: Path, tmp_path: Path) -> None:
    """PEFT leaves out the output head, also if the other layers are quantized."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
    for nf4 in (False, True):
        model = get_peft_model(_load(base, nf4=nf4), config)
        adapted = {name for name, _ in model.named_parameters() if "lora_A" in name}
        assert len(adapted) == 14 and not any("lm_head" in name or "embed" in name for name in adapted)
        model.save_pretrained(tmp_path)
        assert "lm_head" not in json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert isinstance(model.get_base_model(), LlamaForCausalLM)
