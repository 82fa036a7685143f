"""Run the layers of a model compiled, and with their inputs in host memory.

The layers of a model have the same code and shapes, so one compiled graph serves all layers and all lengths. With
gradient checkpointing, the recomputation is part of the graph and leaves out what no gradient needs.

This module imports torch at import time, so import it inside the function that trains.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch

from insurance_rag.training.frozen_linear import with_mixin
from insurance_rag.training.offload import LayerInputOffload

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LayerCall: TypeAlias = Callable[..., torch.Tensor]
"""Function (layer, hidden states, other inputs) -> hidden states."""


def decoder_layers(model: PreTrainedModel) -> torch.nn.ModuleList | None:
    """Return the decoder layers, or None if the model does not have a list of layers of one class."""
    layers = getattr(getattr(model, "model", None), "layers", None)
    if not isinstance(layers, torch.nn.ModuleList) or len({type(layer) for layer in layers}) != 1:
        return None
    return layers


def use_layer_calls(layers: torch.nn.ModuleList, *, compiled: bool, offload: LayerInputOffload | None) -> None:
    """Replace how the layers are called in training. In evaluation, nothing changes."""
    call: LayerCall = torch.compile(_call_layer, dynamic=True) if compiled else _call_layer
    for layer in layers:
        if not isinstance(layer, _TrainingCall):
            layer.__class__ = with_mixin(_TrainingCall, type(layer))
        is_first = layer is layers[0]
        layer.training_call = call if offload is None else functools.partial(_call_offloaded, call, offload, is_first)


class _TrainingCall(torch.nn.Module):
    """A decoder layer that is called in another way in training."""

    training_call: LayerCall

    def __call__(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.training and torch.is_grad_enabled():
            return self.training_call(self, hidden_states, *args, **kwargs)
        return cast(torch.Tensor, super().__call__(hidden_states, *args, **kwargs))


def _call_layer(layer: torch.nn.Module, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return cast(torch.Tensor, torch.nn.Module.__call__(layer, hidden_states, *args, **kwargs))


def _call_offloaded(
    call: LayerCall,
    offload: LayerInputOffload,
    is_first: bool,
    layer: torch.nn.Module,
    hidden_states: torch.Tensor,
    *args: Any,
    **kwargs: Any,
) -> torch.Tensor:
    if is_first:
        offload.start_micro_batch()
    with offload.hooks(hidden_states):
        return call(layer, hidden_states, *args, **kwargs)
