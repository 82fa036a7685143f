"""Apply several LoRA adapters in one batch: each row uses its own adapter, or none.

In each layer, all adapters are concatenated along the rank dimension into one LoRA, and a mask selects the columns that
belong to a row's adapter. This adds two small matrix multiplications per layer, whichever adapters the rows use. Rows
need not be grouped by adapter, and the computation can be recorded in a CUDA graph. PEFT's mixed batches give the same
results, but the host must split the batch in every layer and step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, JsonValue
from torch import nn

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

LayerWeights = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Maps module names to the LoRA matrices (A, B) in float32, with B multiplied by alpha / rank.

A has the shape [rank, inputs] and B the shape [outputs, rank].
"""

_PEFT_PREFIX = "base_model.model."


class PeftConfig(BaseModel):
    """The fields of adapter_config.json that determine how an adapter is applied."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: str | None = None
    r: int = 0
    lora_alpha: float = 0
    use_dora: JsonValue = None
    use_rslora: JsonValue = None
    bias: JsonValue = None
    modules_to_save: JsonValue = None
    rank_pattern: JsonValue = None
    alpha_pattern: JsonValue = None
    fan_in_fan_out: JsonValue = None
    use_qalora: JsonValue = None
    trainable_token_indices: JsonValue = None

    @property
    def is_plain_lora(self) -> bool:
        """Whether the adapter is a LoRA adapter without extensions, as batching requires."""
        extensions = (
            self.use_dora,
            self.use_rslora,
            self.bias != "none" and self.bias,
            self.modules_to_save is not None,
            self.rank_pattern,
            self.alpha_pattern,
            self.fan_in_fan_out,
            self.use_qalora,
            self.trainable_token_indices is not None,
        )
        return self.peft_type == "LORA" and not any(extensions)


def read_peft_config(adapter: Path) -> PeftConfig:
    """Read adapter_config.json. Raises InvalidInputError if `adapter` is not an adapter folder with weights."""
    folder = AdapterFolder(adapter)
    try:
        config = PeftConfig.model_validate_json(folder.peft_config.read_bytes())
    except (OSError, ValueError) as e:
        raise InvalidInputError(
            f"{adapter}: not an adapter folder, adapter_config.json cannot be read ({e}); "
            "give a folder that `insurance-rag train` wrote"
        ) from e
    if not folder.weights.is_file():
        raise InvalidInputError(f"{adapter}: {folder.weights.name} is missing; train the adapter again")
    return config


class BatchedLora:
    """Adapters attached to a model until `remove` is called. `select` chooses the adapter for each row."""

    def __init__(self, model: nn.Module, adapters: Mapping[str, Path]) -> None:
        """Attach the adapters to `model`. `adapters` maps names to folders.

        Raises InvalidInputError if an adapter does not fit the model.
        """
        modules = dict(model.named_modules())
        first = next(model.parameters())
        self._device, self._dtype = first.device, first.dtype
        weights = {name: _read_weights(folder, modules) for name, folder in adapters.items()}
        self._columns: dict[str, slice] = {}
        start = 0
        for name, layers in weights.items():
            rank = max(a.shape[0] for a, _ in layers.values())
            self._columns[name] = slice(start, start + rank)
            start += rank
        self._width = start
        self.mask = torch.zeros(0, self._width, device=self._device, dtype=self._dtype)
        """Shape [rows, columns]; 1 in the columns of each row's adapter. To run some rows, set it to those rows."""
        targets = sorted({target for layers in weights.values() for target in layers})
        self._hooks = [self._hook(modules[target], target, weights) for target in targets]

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

    def _hook(self, module: nn.Module, target: str, weights: Mapping[str, LayerWeights]) -> RemovableHandle:
        """Register a hook on a linear layer. The hook adds the adapters' contribution to the layer's output."""
        first_a, first_b = next(layers[target] for layers in weights.values() if target in layers)
        all_a = torch.zeros(self._width, first_a.shape[1])
        all_b = torch.zeros(first_b.shape[0], self._width)
        for name, layers in weights.items():
            if target in layers:
                a, b = layers[target]
                start = self._columns[name].start
                all_a[start : start + a.shape[0]] = a
                all_b[:, start : start + a.shape[0]] = b
        all_a, all_b = all_a.to(self._device, self._dtype), all_b.to(self._device, self._dtype)

        def add_lora(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            low_rank = nn.functional.linear(inputs[0].to(all_a.dtype), all_a) * self.mask[:, None]
            return output + nn.functional.linear(low_rank, all_b).to(output.dtype)

        return module.register_forward_hook(add_lora)


def _read_weights(adapter: Path, modules: Mapping[str, nn.Module]) -> LayerWeights:
    from safetensors.torch import load_file

    config = read_peft_config(adapter)
    scale = config.lora_alpha / config.r
    tensors = load_file(AdapterFolder(adapter).weights)
    layers: LayerWeights = {}
    for key, a in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        target = key.removeprefix(_PEFT_PREFIX).removesuffix(".lora_A.weight")
        b = tensors[key.replace(".lora_A.", ".lora_B.")]
        module = modules.get(target)
        if module is None or (module.out_features, module.in_features) != (b.shape[0], a.shape[1]):
            raise InvalidInputError(
                f"{adapter}: {target} does not fit the base model; give the one that the adapter was trained on"
            )
        layers[target] = (a.float(), b.float() * scale)
    if not layers:
        raise InvalidInputError(f"{adapter}: holds no LoRA weights; train the adapter again")
    return layers
