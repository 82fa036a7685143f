"""Find the layers that an adapter is placed on, before the weights of the base model are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from insurance_rag.config.training import ALL_LINEAR
from insurance_rag.models.linear_layers import LinearLayers


def adapted_layers(layers: LinearLayers, target_modules: str | Sequence[str]) -> LinearLayers:
    """Return the layers that `target_modules` selects, by the rules of peft.

    A name in `target_modules` selects the layers with this name, and those whose name ends with a dot and this name.
    """
    if target_modules == ALL_LINEAR:
        return layers
    return {name: size for name, size in layers.items() if any(_selects(target, name) for target in target_modules)}


def target_problems(layers: LinearLayers, target_modules: str | Sequence[str]) -> list[str]:
    """Return a message for each name in `target_modules` that selects no linear layer."""
    if target_modules == ALL_LINEAR:
        return []
    available = ", ".join(_short_names(layers))
    return [
        f"lora.target_modules: the base model has no linear layer {target!r} that can be adapted; set {ALL_LINEAR}, or "
        f"some of {available}"
        for target in target_modules
        if not any(_selects(target, name) for name in layers)
    ]


def _selects(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _short_names(names: Iterable[str]) -> list[str]:
    """Return the last parts of dotted names, without duplicates, in order of first appearance."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))
