"""NF4 quantization with bitsandbytes: configuration, rounding of weights to NF4 values, and a workaround for CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel

#: Number of weights that share one scale in NF4.
NF4_BLOCK_SIZE = 64


def nf4_config(
    compute_dtype: torch.dtype, *, double_quantization: bool, storage_dtype: torch.dtype | None = None
) -> BitsAndBytesConfig:
    """Return the configuration for loading a model in NF4.

    `double_quantization` quantizes the scales too. `storage_dtype` is the dtype of the packed weights; under FSDP,
    it must match the dtype of all other parameters.
    """
    from transformers import BitsAndBytesConfig

    storage = {} if storage_dtype is None else {"bnb_4bit_quant_storage": storage_dtype}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_compute_dtype=compute_dtype,
        **storage,
    )


def round_to_nf4(model: PreTrainedModel, *, double_quantization: bool) -> None:
    """Round the weights of the linear layers to NF4 values.

    The output head is not rounded, because QLoRA does not quantize it. The weights keep their dtype. The model then
    behaves like the quantized model that an adapter was trained on, but its forward pass does not need bitsandbytes.
    """
    import bitsandbytes.functional as bnb
    import torch

    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            weight = module.weight.data
            packed, state = bnb.quantize_4bit(
                weight, blocksize=NF4_BLOCK_SIZE, quant_type="nf4", compress_statistics=double_quantization
            )
            module.weight.data = bnb.dequantize_4bit(packed, state).to(weight.dtype)


def disable_cpu_repacking(model: torch.nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights on CPUs with avx512_bf16.

    On these CPUs, the first forward pass in evaluation mode changes the layout of the weights. A later backward pass
    or merge still assumes the old layout and silently computes wrong values (bitsandbytes 0.50.2,
    `Linear4bit.forward` in nn/modules.py).
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
