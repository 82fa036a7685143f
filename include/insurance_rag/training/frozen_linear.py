"""Compute a frozen layer and its LoRA adapter in one step, with few kernels and little host time.

peft and bitsandbytes run about twenty small operations per adapted layer. With small micro-batches, starting them takes
longer than computing them. `use_frozen_linear` replaces the forward methods of these layers. The results are the same
up to the order of sums. Parameters, the state dict and saved adapters do not change.

This module imports torch at import time, so import it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import bitsandbytes as bnb
import torch
from peft.tuners.lora.layer import LoraLayer

from insurance_rag.models.quantization import NF4_BLOCK_SIZE
from insurance_rag.training.frozen_weights import (
    Fp8Weight,
    FrozenWeight,
    Nf4Weight,
    PlainWeight,
    dequantize,
    fp8_tensors,
    nf4_tensors,
)
from insurance_rag.training.training_plan import Compute

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PREFIX = "frozen_"
"""Start of the names of the buffers that hold frozen weights."""
_CLASSES: dict[tuple[type, type], type] = {}

Gradients: TypeAlias = "tuple[torch.Tensor | None, ...]"


def use_frozen_linear(model: PreTrainedModel, compute: Compute, dtype: torch.dtype) -> None:
    """Replace the forward methods of the linear layers and their adapters.

    The output head keeps its method, and so do layers of other classes, such as routers, and layers in FP4. Adapters
    with a feature that this module does not know, such as DoRA, keep theirs too, but their frozen layers are replaced.
    `dtype` is that of the activations. With a `compute` other than `dequantize`, the weights in NF4 are freed.
    """
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head and _is_frozen(m, dtype)]
    for layer in layers:
        _hold_weight(layer, compute, dtype)
        layer.__class__ = with_mixin(_FrozenForward, type(layer))
    for module in model.modules():
        if isinstance(module, LoraLayer) and _is_plain_lora(module):
            module.__class__ = with_mixin(_LoraForward, type(module))


def _is_frozen(layer: torch.nn.Linear, dtype: torch.dtype) -> bool:
    """Return whether the layer only multiplies with a frozen weight, in NF4 or in the dtype of the activations.

    Subclasses may compute something else: Llama 4 and Phi MoE have routers that are subclasses of `torch.nn.Linear`. A
    base model that was saved in 4 bits keeps its own format, which may be FP4.
    """
    if layer.weight.requires_grad:
        return False
    if type(layer) is bnb.nn.Linear4bit:
        state = layer.weight.quant_state
        return state is not None and (state.quant_type, state.blocksize) == ("nf4", NF4_BLOCK_SIZE)
    return type(layer) is torch.nn.Linear and layer.weight.dtype == dtype


def _is_plain_lora(module: LoraLayer) -> bool:
    """Return whether the module is a linear layer with one LoRA adapter and none of peft's variants."""
    return (
        isinstance(module.base_layer, _FrozenForward)
        and list(module.lora_A) == ["default"]
        and not module.lora_variant
        and not any(module.lora_bias.values())
        and not getattr(module, "fan_in_fan_out", False)
    )


def with_mixin(mixin: type, cls: type) -> type:
    """Return a subclass of `cls` with the methods of `mixin`.

    It is the same class for the same arguments, so that torch.compile sees equal layers.
    """
    if (mixin, cls) not in _CLASSES:
        _CLASSES[mixin, cls] = type(f"{mixin.__name__.strip('_')}{cls.__name__}", (mixin, cls), {})
    return _CLASSES[mixin, cls]


def _hold_weight(layer: torch.nn.Linear, compute: Compute, dtype: torch.dtype) -> None:
    """Give the layer the tensors of its frozen weight, as buffers that are not saved."""
    state = getattr(layer.weight, "quant_state", None)
    tensors = [layer.weight.detach()] if state is None else nf4_tensors(layer.weight.data, state, layer.out_features)
    kind: type[FrozenWeight] = PlainWeight if state is None else Nf4Weight
    if compute != "dequantize":
        if state is not None:
            kind, tensors = PlainWeight, [dequantize(tensors, dtype)]
        if compute == "fp8":
            kind, tensors = Fp8Weight, fp8_tensors(tensors[0])
        layer.weight = torch.nn.Parameter(layer.weight.data.new_empty(0), requires_grad=False)
        if isinstance(layer, bnb.nn.Linear4bit):
            layer.quant_state = None
    layer.frozen_kind, layer.frozen_dtype = kind, dtype
    layer.frozen_names = tuple(f"{_PREFIX}{i}" for i in range(len(tensors)))
    for name, tensor in zip(layer.frozen_names, tensors, strict=True):
        layer.register_buffer(name, tensor, persistent=False)


def is_frozen_tensor(name: str) -> bool:
    """Return whether a buffer of the model with this name belongs to a frozen weight."""
    return name.rpartition(".")[2].startswith(_PREFIX)


def _frozen_tensors(layer: torch.nn.Module) -> list[torch.Tensor]:
    return [getattr(layer, name) for name in layer.frozen_names]


class _FrozenForward(torch.nn.Linear):
    """The forward method of a frozen linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.to(self.frozen_dtype).flatten(0, -2)
        y = _Frozen.apply(rows, self.frozen_kind, *_frozen_tensors(self))
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.unflatten(0, x.shape[:-1]).to(x.dtype)


class _LoraForward(torch.nn.Module):
    """The forward method of a frozen linear layer with a LoRA adapter."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.disable_adapters or self.merged or args or kwargs or self.active_adapters != ["default"]:
            return super().forward(x, *args, **kwargs)
        base, dropout = self.base_layer, self.lora_dropout["default"]
        rows = x.to(base.frozen_dtype).flatten(0, -2)
        y = _FrozenWithLora.apply(
            rows,
            dropout(rows) if self.training and not isinstance(dropout, torch.nn.Identity) else None,
            self.lora_A["default"].weight,
            self.lora_B["default"].weight,
            self.scaling["default"],
            base.frozen_kind,
            *_frozen_tensors(base),
        )
        if base.bias is not None:
            y = y + base.bias.to(y.dtype)
        return y.unflatten(0, x.shape[:-1]).to(x.dtype)


class _Frozen(torch.autograd.Function):
    """A product with a frozen weight. For the backward pass, it keeps the weight only."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kind: type[FrozenWeight], *weight: torch.Tensor) -> torch.Tensor:
        ctx.kind = kind
        ctx.save_for_backward(*weight)
        return kind.forward(x, *weight)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        weight = ctx.saved_tensors
        return ctx.kind.backward(grad, *weight), None, *_no_gradients(weight)


class _FrozenWithLora(torch.autograd.Function):
    """A product with a frozen weight, plus the output of a LoRA adapter: y = x W' + s d A' B'.

    `d` is x after dropout; None is the same as x. As with peft, A is applied in the narrower dtype of x and A.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        dropped: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
        kind: type[FrozenWeight],
        *weight: torch.Tensor,
    ) -> torch.Tensor:
        inputs = x if dropped is None else dropped
        narrow = min(x.dtype, a.dtype, key=lambda dtype: dtype.itemsize)
        low_rank = (inputs.to(narrow) @ a.to(narrow).t()).to(x.dtype)
        ctx.kind, ctx.scaling, ctx.has_dropout = kind, scaling, dropped is not None
        ctx.save_for_backward(inputs, low_rank, a, b, *weight)
        return torch.addmm(kind.forward(x, *weight), low_rank, b.to(x.dtype).t(), alpha=scaling)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        inputs, low_rank, a, b, *weight = ctx.saved_tensors
        grad_low_rank = (grad @ b.to(grad.dtype)) * ctx.scaling
        grad_b = (grad.t() @ (low_rank * ctx.scaling)).to(b.dtype)
        grad_a = (grad_low_rank.t() @ inputs).to(a.dtype)
        grad_x = grad_dropped = None
        if ctx.needs_input_grad[0]:
            grad_x = ctx.kind.backward(grad, *weight)
        if ctx.has_dropout:
            grad_dropped = grad_low_rank @ a.to(grad.dtype)
        elif grad_x is not None:
            grad_x = torch.addmm(grad_x, grad_low_rank, a.to(grad.dtype))
        return grad_x, grad_dropped, grad_a, grad_b, None, None, *_no_gradients(weight)


def _no_gradients(weight: Sequence[torch.Tensor]) -> list[None]:
    return [None] * len(weight)
