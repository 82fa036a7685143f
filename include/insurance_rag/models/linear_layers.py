"""Find the linear layers of a base model without loading its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LinearLayers = dict[str, tuple[int, int]]
"""Maps the names of linear layers to their numbers of inputs and outputs."""


def linear_layers(model_config: PretrainedConfig) -> LinearLayers:
    """Return all linear layers except the output head.

    The model is built on torch's meta device, which has no memory. Quantization does not change the layers' names.
    Raises InvalidInputError if the model is not a causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(model_config)
    except ValueError as e:
        raise InvalidInputError(
            f"base model: its type {model_config.model_type!r} is not a causal language model of transformers; "
            "give another base model"
        ) from e
    head = model.get_output_embeddings()
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
