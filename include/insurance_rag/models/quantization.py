"""NF4 quantization with bitsandbytes: its configuration, rounding weights to NF4 values, and a CPU work-around."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig, PreTrainedModel

#: Weights that share one scale in NF4.
NF4_BLOCK_SIZE = 64


def nf4_config(
    compute_dtype: torch.dtype, *, double_quantization: bool, storage_dtype: torch.dtype | None = None
) -> BitsAndBytesConfig:
    """Return the configuration that loads a model in NF4.

    `double_quantization` also quantizes the scales. `storage_dtype` is the type of the packed weights; FSDP requires
    the type of all other parameters.
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
    """Replace the weights that QLoRA would quantize (all linear layers but the output head) by their NF4 values.

    The model keeps its dtype. It computes what an adapter was trained on, without bitsandbytes in the forward pass.
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
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with avx512_bf16.

    On such a CPU the first forward pass in evaluation mode changes the layout of the weights. A later backward pass or
    merge reads the new layout as if it were the old one and gets wrong values without an error (bitsandbytes 0.50.2,
    `Linear4bit.forward` in nn/modules.py).
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
