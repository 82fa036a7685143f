"""Read a LoRA adapter from its folder, and find out whether it can share a batch with other adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, JsonValue

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

_PEFT_PREFIX = "base_model.model."
_A, _B, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"

#: Initializations of peft that change the weights of the base model.
_CHANGE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
#: Fields of adapter_config.json that, if set, change how an adapter is applied in a way that is not implemented here.
_EXTENSIONS = (
    "bias",
    "lora_bias",
    "modules_to_save",
    "fan_in_fan_out",
    "trainable_token_indices",
    "layer_replication",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
)


class PeftConfig(BaseModel):
    """The fields of adapter_config.json that determine how an adapter is applied."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: str | None = None
    r: int = 0
    lora_alpha: float = 0
    use_rslora: bool | None = None
    rank_pattern: dict[str, int] | None = None
    """Ranks of layers that differ from `r`. The keys are patterns for the names of layers."""
    alpha_pattern: dict[str, float] | None = None
    """Values of `lora_alpha` for some layers, as in `rank_pattern`."""
    init_lora_weights: JsonValue = None

    def scaling(self, target: str, rank: int) -> float:
        """Return the factor for the adapter's output in the layer `target`, where the adapter has this rank."""
        from peft.utils.other import get_pattern_key

        patterns = self.alpha_pattern or {}
        alpha = patterns.get(get_pattern_key(list(patterns), target), self.lora_alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def problem(self) -> str | None:
        """Return why the adapter cannot share a batch, and what to do; None if it can."""
        if self.peft_type != "LORA":
            return f"its type {self.peft_type} is not LoRA; use --reference"
        if str(self.init_lora_weights).lower().startswith(_CHANGE_BASE):
            return (
                f"its initialization {self.init_lora_weights} changed the base model; convert it with peft's "
                "save_pretrained(path_initial_model_for_weight_conversion=...)"
            )
        extra: Mapping[str, JsonValue] = self.model_extra or {}
        found = [name for name in _EXTENSIONS if extra.get(name) not in (None, False, "none", [], {})]
        return f"{', '.join(found)} cannot be applied to some rows of a batch; use --reference" if found else None


@dataclass(frozen=True)
class LayerWeights:
    """The weights of an adapter in one linear layer, in float32."""

    a: torch.Tensor
    """Shape [rank, inputs]."""
    b: torch.Tensor
    """Shape [outputs, rank], multiplied by the scaling factor."""
    magnitude: torch.Tensor | None
    """Shape [outputs]: the norm that DoRA learned for every row of the weight; None for other adapters."""


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


def adapter_problem(adapter: Path) -> str | None:
    """Return why the adapter cannot share a batch, without reading its weights; None if it can.

    Raises InvalidInputError if `adapter` is not an adapter folder with weights.
    """
    from safetensors import SafetensorError, safe_open

    if problem := read_peft_config(adapter).problem():
        return problem
    weights = AdapterFolder(adapter).weights
    try:
        with safe_open(weights, "pt") as file:
            names = list(file.keys())
    except SafetensorError as e:
        raise InvalidInputError(f"{weights}: cannot be read ({e}); train the adapter again") from e
    unknown = [name for name in names if not name.endswith((_A, _B, _MAGNITUDE))]
    return f"its weight {unknown[0]} is not one of LoRA or DoRA; use --reference" if unknown else None


def read_adapter(adapter: Path) -> dict[str, LayerWeights]:
    """Read the adapter's weights. The keys are the names of layers in the base model.

    Raises InvalidInputError if the folder holds no LoRA weights.
    """
    from safetensors.torch import load_file

    config = read_peft_config(adapter)
    tensors = load_file(AdapterFolder(adapter).weights)
    layers = {}
    for key in tensors:
        if not key.endswith(_A):
            continue
        name = key.removesuffix(_A)
        target = name.removeprefix(_PEFT_PREFIX)
        a, b = tensors[key].float(), tensors[name + _B].float()
        magnitude = tensors.get(name + _MAGNITUDE)
        layers[target] = LayerWeights(
            a, b * config.scaling(target, a.shape[0]), None if magnitude is None else magnitude.float()
        )
    if not layers:
        raise InvalidInputError(f"{adapter}: holds no LoRA weights; train the adapter again")
    return layers
