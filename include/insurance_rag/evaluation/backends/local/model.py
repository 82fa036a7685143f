"""The base model, loaded once: which values its weights have, on which device, and who it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    try:
        return AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as e:
        raise InvalidInputError(f"base model {name}: its tokenizer cannot be loaded ({e})") from e


@dataclass(frozen=True)
class BaseModelSpec:
    """The base as adapters knew it while they trained; the defaults where their folders do not say."""

    quantized: bool = True
    double_quantization: bool = True
    revision: str | None = None

    @classmethod
    def of(cls, adapters: Mapping[str, Path], base_model: str) -> BaseModelSpec:
        """By the adapters' training.json. InvalidInputError where they differ: one base in memory serves them all; and where
        an adapter is that of another base than `base_model`, as far as names can tell (a folder may have moved).

        Double quantisation rounds the scales alone: where adapters differ in it, none is held so.
        """
        known = {n: read_json(d / "training.json") for n, d in adapters.items() if (d / "training.json").is_file()}
        if not known:
            return cls()
        named = {n: k["base_model"] for n, k in known.items() if not Path(k["base_model"]).is_absolute()}
        if not Path(base_model).is_dir() and (others := {n: b for n, b in named.items() if b != base_model}):
            apart = "; ".join(f"{n}: {base}" for n, base in others.items())
            raise InvalidInputError(f"the base model is {base_model}, but adapters were trained on another ({apart})")
        bases = {n: (k["settings"]["quantization"] != "none", k["base_revision"]) for n, k in known.items()}
        if len(set(bases.values())) > 1:
            apart = "; ".join(
                f"{n}: {'NF4' if nf4 else '16 bit'}, {at or 'a folder'}" for n, (nf4, at) in bases.items()
            )
            raise InvalidInputError(f"the adapters were trained on different bases, evaluate them apart ({apart})")
        [(quantized, revision)] = set(bases.values())
        return cls(quantized, all(k["plan"]["double_quantization"] for k in known.values()), revision)


def load_base(name: str, precision: str, trained: BaseModelSpec | None = None) -> tuple[Any, str]:
    """The base model in evaluation mode and the precision it was given (`auto` is decided here, as `trained`).

    nf4-dequantized quantises to NF4 and back: the very values an adapter was trained on, as plain 16-bit (CPU: 32-bit)
    weights. Nothing of bitsandbytes remains at work, so neither does its faulty repacking on CPUs with avx512_bf16.
    """
    cuda, trained = torch.cuda.is_available(), trained or BaseModelSpec()
    try:
        config = AutoConfig.from_pretrained(name, revision=trained.revision)
        if precision == "auto" and not trained.quantized:
            precision = "bf16" if cuda else "fp32"
        elif precision == "auto":
            precision = "nf4-dequantized" if not cuda or _fits(config) else "nf4"
        dtype = torch.bfloat16 if (cuda and precision != "fp32") or precision == "bf16" else torch.float32
        options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
        if precision == "nf4":
            options["quantization_config"] = _nf4_settings(dtype, trained.double_quantization)
        options["revision"] = trained.revision
        model = AutoModelForCausalLM.from_pretrained(name, device_map={"": 0 if cuda else "cpu"}, **options)
    except (OSError, ValueError) as e:
        raise InvalidInputError(
            f"base model {name}: cannot be loaded ({e}); want a Hugging Face name or a local folder"
        ) from e
    if precision == "nf4-dequantized":
        _round_to_nf4(model, trained.double_quantization)
    elif precision == "nf4" and not cuda:
        _keep_cpu_layout(model)
    return model.eval(), precision


def _fits(config: Any) -> bool:
    """Whether 16-bit weights leave half of the free GPU memory to caches and activations."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    free, _ = torch.cuda.mem_get_info()
    return bool(2 * parameters < free / 2)


def _nf4_settings(dtype: torch.dtype, double: bool) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double, bnb_4bit_compute_dtype=dtype
    )


def _round_to_nf4(model: Any, double: bool) -> None:
    """Replace the weights that QLoRA would quantise (every linear layer but the head) by their NF4 values."""
    import bitsandbytes.functional as bnb

    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            weight = module.weight.data
            packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=double)
            module.weight.data = bnb.dequantize_4bit(packed, state).to(weight.dtype)


def _keep_cpu_layout(model: Any) -> None:
    """Without this the first forward on a CPU with avx512_bf16 repacks the weights, and reading them gives garbage."""
    import bitsandbytes as bnb

    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
