"""Load the base model for inference with the same weights that the adapters were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import TrainingManifest
from insurance_rag.models.base_model import load_base_model, load_model_config
from insurance_rag.models.quantization import nf4_config, round_to_nf4

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class BaseModelSpec:
    """Describes the base model that the adapters were trained on. The defaults apply if no adapter has a manifest."""

    quantized: bool = True
    double_quantization: bool = True
    revision: str | None = None

    @classmethod
    def of(cls, adapters: Mapping[str, Path], base_model: str) -> BaseModelSpec:
        """Read the specification from the adapters' manifests. Adapters without a manifest are accepted.

        One model in memory serves all adapters. They may differ in double quantization, because it affects only the
        rounding of the scales. Double quantization is applied if all adapters were trained with it.

        Raises InvalidInputError if the adapters were trained with different quantization or revisions. Also raises it
        if a manifest names a base model other than `base_model`. Names that are folders are not compared, because a
        folder may have been moved.
        """
        folders = {name: AdapterFolder(folder) for name, folder in adapters.items()}
        manifests = {name: found for name, folder in folders.items() if (found := folder.read_manifest()) is not None}
        if not manifests:
            return cls()
        _check_base_name(manifests, base_model)
        specs = {name: cls._of_manifest(manifest) for name, manifest in manifests.items()}
        if len({(spec.quantized, spec.revision) for spec in specs.values()}) > 1:
            differing = "; ".join(
                f"{name}: {'NF4' if spec.quantized else '16 bit'}, {spec.revision or 'a folder'}"
                for name, spec in specs.items()
            )
            raise InvalidInputError(
                f"the adapters were trained on different base models ({differing}); evaluate them in separate runs"
            )
        first = next(iter(specs.values()))
        return cls(first.quantized, all(spec.double_quantization for spec in specs.values()), first.revision)

    @classmethod
    def _of_manifest(cls, manifest: TrainingManifest) -> BaseModelSpec:
        return cls(manifest.quantization != "none", manifest.plan.double_quantization, manifest.base_revision)


def _check_base_name(manifests: Mapping[str, TrainingManifest], base_model: str) -> None:
    """Raise InvalidInputError if an adapter was trained on a Hugging Face model other than `base_model`."""
    if Path(base_model).is_dir():
        return
    named = {name: m.base_model for name, m in manifests.items() if not Path(m.base_model).is_absolute()}
    others = "; ".join(f"{name}: {base}" for name, base in named.items() if base != base_model)
    if others:
        raise InvalidInputError(
            f"the base model is {base_model}, but adapters were trained on another one ({others}); "
            "give the base model of the adapters"
        )


def load_inference_model(
    base_model: str, precision: str, spec: BaseModelSpec | None = None
) -> tuple[PreTrainedModel, str]:
    """Load the base model in evaluation mode. Return the model and its actual precision, which is never `auto`.

    The precision `nf4-dequantized` quantizes the weights to NF4 and back. The weights then have the values that the
    adapters were trained on. Because they are plain 16-bit numbers (32-bit on a CPU), inference does not need
    bitsandbytes. Raises InvalidInputError if the model cannot be loaded.
    """
    spec = spec or BaseModelSpec()
    cuda = torch.cuda.is_available()
    precision = resolve_precision(precision, load_model_config(base_model, spec.revision), spec)
    dtype = torch.bfloat16 if (cuda and precision != "fp32") or precision == "bf16" else torch.float32
    quantization = nf4_config(dtype, double_quantization=spec.double_quantization) if precision == "nf4" else None
    model = load_base_model(base_model, dtype, revision=spec.revision, quantization=quantization, attention="sdpa")
    if precision == "nf4-dequantized":
        round_to_nf4(model, double_quantization=spec.double_quantization)
    return model.eval(), precision


def resolve_precision(precision: str, config: PretrainedConfig, spec: BaseModelSpec) -> str:
    """Return `precision`, or the precision that `auto` stands for.

    `auto` gives the weights that the adapters were trained on. For a quantized base model, it prefers the faster
    `nf4-dequantized` and falls back to `nf4` if 16-bit weights do not fit into GPU memory.
    """
    if precision != "auto":
        return precision
    cuda = torch.cuda.is_available()
    if not spec.quantized:
        return "bf16" if cuda else "fp32"
    return "nf4-dequantized" if not cuda or _fits_in_16_bits(config) else "nf4"


def _fits_in_16_bits(config: PretrainedConfig) -> bool:
    """Return whether 16-bit weights would leave half of the free GPU memory for caches and activations."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    free_bytes, _ = torch.cuda.mem_get_info()
    return bool(2 * parameters < free_bytes / 2)
