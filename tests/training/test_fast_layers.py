"""The replaced layers compute what peft, bitsandbytes and torch compute, compiled or not."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import bitsandbytes as bnb
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.training.conftest import largest_difference, losses_of, quick, weights
from torch._dynamo.utils import counters
from transformers import Qwen2Config, Qwen2ForCausalLM

from insurance_rag.models.base_model import load_base_model
from insurance_rag.models.quantization import nf4_config
from insurance_rag.training import train_adapter
from insurance_rag.training.frozen_linear import use_frozen_linear
from insurance_rag.training.frozen_weights import Fp8Weight, fp8_tensors
from insurance_rag.training.layer_calls import use_layer_calls
from insurance_rag.training.offload import embeddings_can_move, move_embeddings_to_host
from insurance_rag.training.training_plan import Compute

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

Gradients = dict[str, torch.Tensor]


def lora_model(
    base_model: Path, *, double_quantization: bool = False, nf4: bool = True, lora: Mapping[str, object] | None = None
) -> PeftModel:
    """Return the base model with an adapter."""
    quantization = nf4_config(torch.float32, double_quantization=double_quantization) if nf4 else None
    model = load_base_model(str(base_model), torch.float32, quantization=quantization, attention="sdpa")
    return with_adapter(model, **(lora or {}))


def with_adapter(model: PreTrainedModel, **lora: object) -> PeftModel:
    """Return the model with an adapter whose B is not zero, so that all its gradients differ from zero."""
    torch.manual_seed(0)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    peft_model = get_peft_model(model, LoraConfig(r=8, target_modules=targets, task_type="CAUSAL_LM", **lora))
    for name, parameter in peft_model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return peft_model.train()


def loss_and_gradients(model: PeftModel, tokens: int = 24) -> tuple[float, Gradients]:
    ids = torch.arange(2 * tokens).view(2, tokens) % 500 + 5
    model.zero_grad()
    torch.manual_seed(1)  # for dropout
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(found: tuple[float, Gradients], expected: tuple[float, Gradients], tolerance: float = 1e-5) -> None:
    assert found[0] == pytest.approx(expected[0], abs=tolerance)
    assert set(found[1]) == set(expected[1])
    largest = max(float(gradient.abs().max()) for gradient in expected[1].values())
    assert largest_difference(found[1], expected[1]) < tolerance * largest


@pytest.mark.parametrize("nf4", [True, False])
@pytest.mark.parametrize("double_quantization", [True, False])
@pytest.mark.parametrize("compute", ["dequantize", "cached"])
def test_losses_and_gradients_are_those_of_peft(
    base_model: Path, compute: Compute, double_quantization: bool, nf4: bool
) -> None:
    model = lora_model(base_model, double_quantization=double_quantization, nf4=nf4)
    expected = loss_and_gradients(model)
    with model.disable_adapter(), torch.no_grad():
        ids = torch.arange(5, 20)[None]
        base_logits = model(input_ids=ids).logits
    names = set(model.state_dict())
    use_frozen_linear(model, compute, torch.float32)
    assert_equal(loss_and_gradients(model), expected)
    with model.disable_adapter(), torch.no_grad():  # DPO's reference
        assert torch.allclose(model(input_ids=ids).logits, base_logits, atol=1e-4)
    assert {name for name in names if "lora_" in name} <= set(model.state_dict()) <= names


@pytest.mark.parametrize("lora", [{"lora_dropout": 0.3, "use_rslora": True}, {"use_dora": True}])
def test_all_kinds_of_lora_give_the_gradients_of_peft(base_model: Path, lora: dict[str, object]) -> None:
    model = lora_model(base_model, lora=lora)
    expected = loss_and_gradients(model)
    use_frozen_linear(model, "dequantize", torch.float32)
    assert_equal(loss_and_gradients(model), expected)


def test_frozen_biases_are_added() -> None:
    config = Qwen2Config(
        vocab_size=520, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    peft_model = with_adapter(model)
    expected = loss_and_gradients(peft_model)
    use_frozen_linear(peft_model, "dequantize", torch.float32)
    assert_equal(loss_and_gradients(peft_model), expected)


def test_other_layers_keep_their_methods(base_model: Path) -> None:
    """Some models have routers that are subclasses of Linear, and some are saved in FP4."""

    class Router(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).softmax(-1)

    model = lora_model(base_model)
    base = model.get_base_model()
    base.router = Router(64, 8).requires_grad_(False)
    base.fp4 = bnb.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.float32, quant_type="fp4").to("cpu")
    x = torch.randn(3, 64)
    expected = base.router(x), base.fp4(x)
    use_frozen_linear(model, "cached", torch.float32)
    assert torch.equal(base.router(x), expected[0]) and torch.equal(base.fp4(x), expected[1])


def test_fp8_is_close_to_the_exact_result(base_model: Path) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(64, 96) / 8, torch.randn(32, 96) * torch.rand(32, 1)
    tensors = fp8_tensors(weight)
    for rounded, exact in (
        (Fp8Weight.forward(x, *tensors), x @ weight.t()),
        (Fp8Weight.backward(x[:, :64], *tensors), x[:, :64] @ weight),
    ):
        assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.05
    model = lora_model(base_model)
    loss, gradients = loss_and_gradients(model)
    use_frozen_linear(model, "fp8", torch.float32)
    fp8_loss, fp8_gradients = loss_and_gradients(model)
    assert fp8_loss == pytest.approx(loss, rel=0.01) and fp8_loss != loss
    assert all(gradient.dtype == torch.float32 for gradient in fp8_gradients.values())
    cosines = [torch.cosine_similarity(gradients[n].flatten(), fp8_gradients[n].flatten(), 0) for n in gradients]
    assert min(cosines) > 0.9


def test_one_graph_serves_all_layers_and_lengths(base_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_without_code = functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", compile_without_code)
    torch._dynamo.reset()
    counters.clear()
    model = lora_model(base_model)
    expected = [loss_and_gradients(model, tokens) for tokens in (24, 31, 57)]
    base = model.get_base_model()
    use_frozen_linear(base, "dequantize", torch.float32)
    base.enable_input_require_grads()
    base.activation_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    use_layer_calls(base.model.layers, compiled=True, offload=None)
    for tokens, result in zip((24, 31, 57), expected, strict=True):
        assert_equal(loss_and_gradients(model, tokens), result)
    assert counters["stats"]["unique_graphs"] == 1
    with torch.no_grad():  # evaluation does not compile another graph
        model.eval()(input_ids=torch.arange(5, 20)[None])
    assert counters["stats"]["unique_graphs"] == 1


def test_training_goes_on_if_compiling_fails(
    base_model: Path, dataset: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def broken_compiler(*_: object, **__: object) -> object:
        def call(*_: object, **__: object) -> None:
            raise RuntimeError("no C compiler\nand a long explanation")

        return call

    monkeypatch.setattr(torch, "compile", broken_compiler)
    with caplog.at_level(logging.WARNING):
        train_adapter(quick(lora={"dropout": 0.1}, torch_compile=True), dataset, str(base_model), tmp_path / "a")
    assert "cannot be compiled (RuntimeError: no C compiler); they run uncompiled and without" in caplog.text
    assert losses_of(tmp_path / "a") == losses_of(straight)
    assert largest_difference(weights(tmp_path / "a"), weights(straight)) == 0


def test_embeddings_in_host_memory_have_the_same_rows(base_model: Path) -> None:
    model = lora_model(base_model, nf4=False)
    base = model.get_base_model()
    assert not embeddings_can_move(base)  # the small base model shares them with its output head
    base.lm_head.weight = torch.nn.Parameter(base.lm_head.weight.detach().clone(), requires_grad=False)
    assert embeddings_can_move(base)
    expected = loss_and_gradients(model)
    move_embeddings_to_host(base)
    assert_equal(loss_and_gradients(model), expected)
    assert_equal(loss_and_gradients(model, 12), loss_and_gradients(model, 12))
    assert base.get_input_embeddings().weight.numel() == 0
