"""Load the configuration and weights of a base model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.models.devices import device_map
from insurance_rag.models.quantization import disable_cpu_repacking

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PretrainedConfig, PreTrainedModel


def load_model_config(base_model: str, revision: str | None = None) -> PretrainedConfig:
    """Load the configuration of a base model. Raises InvalidInputError with advice if the model cannot be loaded."""
    from transformers import AutoConfig

    if Path(base_model).is_dir() and not (Path(base_model) / "config.json").is_file():
        raise InvalidInputError(
            f"base model {base_model}: the folder holds no config.json; give a model folder or a Hugging Face name"
        )
    try:
        return AutoConfig.from_pretrained(base_model, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as e:
        raise _cannot_load(base_model, e) from e


def load_base_model(
    base_model: str,
    dtype: torch.dtype,
    *,
    revision: str | None = None,
    quantization: BitsAndBytesConfig | None = None,
    attention: str | None = None,
    place_on_device: bool = True,
) -> PreTrainedModel:
    """Load the weights of a causal language model onto this process's device.

    Only safetensors files are read, because files in the older format can run code, and no code of the model is run.

    `attention` is transformers' `attn_implementation`; None uses the model's default. With `place_on_device=False`,
    FSDP places the model later. Raises InvalidInputError if the model cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            base_model,
            revision=revision,
            dtype=dtype,
            device_map=device_map() if place_on_device else None,
            attn_implementation=attention,
            quantization_config=quantization,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError) as e:
        raise _cannot_load(base_model, e) from e
    if quantization is not None:
        disable_cpu_repacking(model)
    return model


def _cannot_load(base_model: str, error: Exception) -> InvalidInputError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    if any(word in str(error) for word in ("gated", "401", "403")):
        advice = f"accept its license at https://huggingface.co/{base_model} and log in with `hf auth login`"
    else:
        advice = "check the name and the network, or give a local folder"
    return InvalidInputError(f"base model {base_model}: cannot be loaded ({reason}); {advice}")
