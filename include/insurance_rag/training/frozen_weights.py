"""Multiply with a frozen weight: in NF4, in 16 bits, or in fp8.

The operators that dequantize and multiply are opaque to torch.compile. If it saw the dequantization, it would keep the
16-bit weights of all layers for the backward pass.

This module imports torch at import time, so import it inside the function that trains.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from bitsandbytes.functional import QuantState
from torch.nn import functional

from insurance_rag.models.quantization import NF4_BLOCK_SIZE

_SCALE_BLOCK_SIZE = 256
"""Number of NF4 scales that share one scale when the scales are quantized too (a constant of bitsandbytes)."""
_FP8 = torch.float8_e4m3fn
_FP8_MAX = 448.0
"""Largest number of this fp8 format."""


class FrozenWeight(Protocol):
    """Operations with a frozen weight of shape outputs x inputs. Their first argument has the shape tokens x width."""

    @staticmethod
    def forward(x: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return x times the transposed weight."""

    @staticmethod
    def backward(grad: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return `grad` times the weight."""


class PlainWeight:
    """A weight in the dtype of the activations. Its tensors: the weight."""

    @staticmethod
    def forward(x: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return x times the transposed weight."""
        return functional.linear(x, weight[0])

    @staticmethod
    def backward(grad: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return `grad` times the weight."""
        return grad @ weight[0]


class Nf4Weight:
    """A weight in NF4. Its tensors: packed values (outputs x inputs / 2) and scales.

    If the scales are quantized, three more tensors describe how: their code, their scales and their offset.
    """

    @staticmethod
    def forward(x: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return x times the transposed weight."""
        return cast(torch.Tensor, torch.ops.insurance_rag.nf4_forward(x, list(weight)))

    @staticmethod
    def backward(grad: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return `grad` times the weight."""
        return cast(torch.Tensor, torch.ops.insurance_rag.nf4_backward(grad, list(weight)))


class Fp8Weight:
    """A weight in fp8 with one scale per row. Its tensors: the weight, its scales, the transposed weight, its scales.

    Activations and gradients are rounded to fp8 too, with one scale per token. The results differ from those of the
    16-bit weight by a few percent.
    """

    @staticmethod
    def forward(x: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return x times the transposed weight."""
        return _fp8_product(x, weight[0], weight[1])

    @staticmethod
    def backward(grad: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        """Return `grad` times the weight."""
        return _fp8_product(grad, weight[2], weight[3])


def nf4_tensors(packed: torch.Tensor, state: QuantState, outputs: int) -> list[torch.Tensor]:
    """Return the tensors of an `Nf4Weight` with the packed values and the quantization state of bitsandbytes."""
    values = packed.view(torch.uint8).view(outputs, -1)
    if not state.nested:
        return [values, state.absmax]
    return [values, state.absmax, state.state2.code, state.state2.absmax, state.offset]


def dequantize(weight: list[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Return the values of an `Nf4Weight`. They are the same as those that bitsandbytes computes."""
    packed, scales, *nested = weight
    if nested:
        code, scales_of_scales, offset = nested
        scales = torch.ops.bitsandbytes.dequantize_blockwise(
            scales, scales_of_scales, code, _SCALE_BLOCK_SIZE, torch.float32
        )
        scales += offset
    shape = [packed.shape[0], packed.shape[1] * 2]
    values = torch.ops.bitsandbytes.dequantize_4bit(packed.view(-1, 1), scales, NF4_BLOCK_SIZE, "nf4", shape, dtype)
    return cast(torch.Tensor, values)


def fp8_tensors(weight: torch.Tensor) -> list[torch.Tensor]:
    """Return the tensors of an `Fp8Weight` for a weight in 16 bits."""
    return [*_round_rows(weight), *_round_rows(weight.t().contiguous())]


def _round_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x in fp8, and the factor by which each row was divided."""
    scale = x.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / _FP8_MAX
    return (x / scale).to(_FP8), scale


def _fp8_product(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    rounded, x_scale = _round_rows(x)
    if x.is_cuda:
        product = torch._scaled_mm(
            rounded.contiguous(),
            weight.t(),
            scale_a=x_scale,
            scale_b=scale.view(1, -1),
            out_dtype=torch.bfloat16,  # the only one for scales per row
            use_fast_accum=True,
        )
    else:
        product = functional.linear(rounded.float(), weight.float()) * x_scale * scale.t()
    return product.to(x.dtype)


def _nf4_forward(x: torch.Tensor, weight: list[torch.Tensor]) -> torch.Tensor:
    return functional.linear(x, dequantize(weight, x.dtype))


def _nf4_backward(x: torch.Tensor, weight: list[torch.Tensor]) -> torch.Tensor:
    return x @ dequantize(weight, x.dtype)


def _fake_nf4_forward(x: torch.Tensor, weight: list[torch.Tensor]) -> torch.Tensor:
    return x.new_empty(x.shape[0], weight[0].shape[0])


def _fake_nf4_backward(x: torch.Tensor, weight: list[torch.Tensor]) -> torch.Tensor:
    return x.new_empty(x.shape[0], weight[0].shape[1] * 2)


_LIBRARY = torch.library.Library("insurance_rag", "FRAGMENT")
for _name, _function, _fake in (
    ("nf4_forward", _nf4_forward, _fake_nf4_forward),
    ("nf4_backward", _nf4_backward, _fake_nf4_backward),
):
    _LIBRARY.define(f"{_name}(Tensor x, Tensor[] weight) -> Tensor")
    _LIBRARY.impl(_name, _function, "CPU")
    _LIBRARY.impl(_name, _function, "CUDA")
    torch.library.register_fake(f"insurance_rag::{_name}", _fake, lib=_LIBRARY)
