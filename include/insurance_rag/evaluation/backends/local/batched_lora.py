"""Apply several LoRA adapters in one batch: each row uses its own adapter, or none.

In each layer, all adapters are concatenated along the rank dimension into one LoRA, and a mask selects the columns that
belong to a row's adapter. This adds two small matrix multiplications per layer, whichever adapters the rows use. Rows
need not be grouped by adapter, and the computation can be recorded in a CUDA graph. PEFT's mixed batches give the same
results, but the host must split the batch in every layer and step.

A DoRA adapter multiplies each output of the adapted layer by magnitude / norm, where norm is the length of the row in
the adapted weight W + scaling * B A (Liu et al. 2024, equation 5). Both are constant after training, so the quotient is
computed once per layer and adapter. It is multiplied into B, and the layer's own output is multiplied per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.evaluation.backends.local.adapter_weights import LayerWeights, read_adapter

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class BatchedLora:
    """Adapters attached to a model until `remove` is called. `select` chooses the adapter for each row."""

    def __init__(self, model: nn.Module, adapters: Mapping[str, Path]) -> None:
        """Attach the adapters to `model`. `adapters` maps names to folders.

        Raises InvalidInputError if an adapter does not fit the model.
        """
        modules = dict(model.named_modules())
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        weights = {name: _read_fitting(folder, modules) for name, folder in adapters.items()}
        self._columns: dict[str, slice] = {}
        start = 0
        for name, layers in weights.items():
            rank = max(layer.a.shape[0] for layer in layers.values())
            self._columns[name] = slice(start, start + rank)
            start += rank
        self._width = start
        self.mask = torch.zeros(0, self._width, device=self._device, dtype=self._dtype)
        """Shape [rows, columns]; 1 in the columns of each row's adapter. To run some rows, set it to those rows."""
        self._first_columns = torch.tensor([c.start for c in self._columns.values()], device=self._device)
        """The first column of each adapter. In the mask, these columns show which row uses which adapter."""
        targets = sorted({target for layers in weights.values() for target in layers})
        self._hooks = [
            self._hook(modules[target], {name: layers[target] for name, layers in weights.items() if target in layers})
            for target in targets
        ]

    def select(self, names: list[str]) -> torch.Tensor:
        """Set the adapter for each row and return the mask. A name without an adapter, such as Base, selects none."""
        mask = torch.zeros(len(names), self._width)
        for row, name in enumerate(names):
            if name in self._columns:
                mask[row, self._columns[name]] = 1
        self.mask = mask.to(self._device, self._dtype)
        return self.mask

    def remove(self) -> None:
        """Detach the adapters from the model."""
        for hook in self._hooks:
            hook.remove()

    def _hook(self, module: nn.Module, adapters: Mapping[str, LayerWeights]) -> RemovableHandle:
        """Register a hook on a linear layer. The hook adds the adapters' contribution to the layer's output."""
        all_a = torch.zeros(self._width, module.in_features)
        all_b = torch.zeros(module.out_features, self._width)
        factors = torch.zeros(len(self._columns), module.out_features)
        for index, (name, columns) in enumerate(self._columns.items()):
            if (layer := adapters.get(name)) is None:
                continue
            quotient = _dora_quotient(module, layer)
            used = slice(columns.start, columns.start + layer.a.shape[0])
            all_a[used] = layer.a
            all_b[:, used] = layer.b * quotient[:, None]
            factors[index] = quotient - 1
        all_a, all_b, factors = (tensor.to(self._device, self._dtype) for tensor in (all_a, all_b, factors))
        has_dora = any(layer.magnitude is not None for layer in adapters.values())

        def add_lora(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            low_rank = nn.functional.linear(inputs[0].to(all_a.dtype), all_a) * self.mask[:, None]
            added = nn.functional.linear(low_rank, all_b).to(output.dtype)
            if has_dora:
                row_factors = self.mask.index_select(1, self._first_columns) @ factors
                without_bias = output if module.bias is None else output - module.bias
                added = added + row_factors[:, None].to(output.dtype) * without_bias
            return output + added

        return module.register_forward_hook(add_lora)


def _dora_quotient(module: nn.Module, layer: LayerWeights) -> torch.Tensor:
    """Return magnitude / norm for each output, on the CPU; ones if the adapter is not DoRA.

    The norm is that of the weights that the module computes with: if they are quantized, the dequantized values.
    """
    from peft.utils.integrations import dequantize_module_weight

    if layer.magnitude is None:
        return torch.ones(len(layer.b))
    weight = dequantize_module_weight(module).detach().float()
    norm = torch.linalg.norm(weight + layer.b.to(weight.device) @ layer.a.to(weight.device), dim=1)
    return layer.magnitude / norm.cpu()


def _read_fitting(adapter: Path, modules: Mapping[str, nn.Module]) -> dict[str, LayerWeights]:
    """Read the adapter's weights. Raises InvalidInputError if they do not fit the layers of the model."""
    layers = read_adapter(adapter)
    for target, layer in layers.items():
        module = modules.get(target)
        shape = (layer.b.shape[0], layer.a.shape[1])
        if module is None or (getattr(module, "out_features", None), getattr(module, "in_features", None)) != shape:
            raise InvalidInputError(
                f"{adapter}: {target} does not fit the base model; give the one that the adapter was trained on"
            )
    return layers
