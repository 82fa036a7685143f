"""Several LoRA adapters on one model in one batch, each row with its own or none.

All adapters of a layer lie side by side as one wide LoRA, and a mask switches on a row's own columns: two small
matrix products whatever the mixture, no gathering of rows, nothing a CUDA graph could not record. PEFT's own mixed
batches give the same numbers, but split the batch on the host at every layer of every step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from insurance_rag.core.errors import InvalidInputError

_PREFIX = "base_model.model."
#: What a wide LoRA cannot express; such adapters are left to PEFT.
_PLAIN = {"use_dora": False, "use_rslora": False, "bias": "none", "modules_to_save": None, "rank_pattern": {}}
_PLAIN |= {"alpha_pattern": {}, "fan_in_fan_out": False, "use_qalora": False, "trainable_token_indices": None}


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json; InvalidInputError where `folder` is no adapter."""
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_bytes())
    except (OSError, ValueError) as e:
        raise InvalidInputError(f"{folder}: not an adapter folder, adapter_config.json cannot be read ({e})") from e
    if not (folder / "adapter_model.safetensors").is_file():
        raise InvalidInputError(f"{folder}: adapter_model.safetensors is missing; train the adapter again")
    return config


def is_plain(config: Mapping[str, Any]) -> bool:
    """Whether the adapter is LoRA and nothing else."""
    return config.get("peft_type") == "LORA" and all(config.get(key) in (value, None) for key, value in _PLAIN.items())


class BatchedLora:
    """Adapters on `model`, active for the rows that `select` names; `remove` takes the hooks away again."""

    def __init__(self, model: nn.Module, adapters: Mapping[str, Path]) -> None:
        modules = dict(model.named_modules())
        device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
        weights = {name: _read(folder, modules) for name, folder in adapters.items()}
        ranks = {name: max(a.shape[0] for a, _ in layers.values()) for name, layers in weights.items()}
        self._columns, start = dict[str, slice](), 0
        for name, rank in ranks.items():
            self._columns[name] = slice(start, start + rank)
            start += rank
        self._width, self._device, self._dtype = start, device, dtype
        #: [rows, columns], 1 where the row's adapter is: replaced by `select`, or by a view for a part of the batch
        self.mask = torch.zeros(0, start, device=device, dtype=dtype)
        targets = sorted({target for layers in weights.values() for target in layers})
        self._hooks = [self._hook(modules[target], target, weights) for target in targets]

    def select(self, names: list[str]) -> torch.Tensor:
        """Set the adapter of each row; a name without an adapter (Base) gets none."""
        mask = torch.zeros(len(names), self._width)
        for row, name in enumerate(names):
            if name in self._columns:
                mask[row, self._columns[name]] = 1
        self.mask = mask.to(self._device, self._dtype)
        return self.mask

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _hook(self, module: nn.Module, target: str, weights: Mapping[str, Any]) -> Any:
        first = next(layers[target] for layers in weights.values() if target in layers)
        down = torch.zeros(self._width, first[0].shape[1])
        up = torch.zeros(first[1].shape[0], self._width)
        for name, layers in weights.items():
            if target in layers:
                a, b = layers[target]
                start = self._columns[name].start
                down[start : start + a.shape[0]] = a
                up[:, start : start + a.shape[0]] = b
        down, up = down.to(self._device, self._dtype), up.to(self._device, self._dtype)

        def add(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            narrow = nn.functional.linear(inputs[0].to(down.dtype), down) * self.mask[:, None]
            return output + nn.functional.linear(narrow, up).to(output.dtype)

        return module.register_forward_hook(add)


def _read(folder: Path, modules: Mapping[str, nn.Module]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Module name -> (A, B scaled by alpha / r), in float32."""
    from safetensors.torch import load_file

    config = read_adapter_config(folder)
    scale = config["lora_alpha"] / config["r"]
    tensors = load_file(folder / "adapter_model.safetensors")
    layers = {}
    for key, a in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        target = key.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
        b = tensors[key.replace(".lora_A.", ".lora_B.")]
        module = modules.get(target)
        if module is None or (module.out_features, module.in_features) != (b.shape[0], a.shape[1]):
            raise InvalidInputError(f"{folder}: {target} does not fit the base model; it was trained on another one")
        layers[target] = (a.float(), b.float() * scale)
    if not layers:
        raise InvalidInputError(f"{folder}: holds no LoRA weights")
    return layers
