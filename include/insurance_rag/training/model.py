"""Tokenizer and base model, quantised and made fit for training."""

from __future__ import annotations

import logging
import os
from typing import Any

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.models import attention
from insurance_rag.training.memory import GIB, Device, Plan

log = logging.getLogger(__name__)

#: Spare tokens that base models carry in their vocabulary, in the order of preference.
SPARE_PADS = ("<|finetune_right_pad_id|>", "<pad>", "<|pad|>", "<|reserved_special_token_0|>", "<unused0>", "[PAD]")


def load_tokenizer(base_model: str, revision: str | None = None) -> Any:
    """The base model's tokenizer with a pad token that is not its end-of-text token.

    Where pad is eos, collators that mask padding mask the real end of the answer with it, and the model never learns to
    stop. A spare token of the vocabulary is taken, so that no embedding has to be added.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model, revision=revision)
    if tokenizer.eos_token is None:
        raise InvalidInputError(
            f"{base_model}: its tokenizer names no end-of-text token; set eos_token in tokenizer_config.json"
        )
    if tokenizer.pad_token is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        vocabulary = tokenizer.get_vocab()
        spare = next(
            (t for t in (*SPARE_PADS, tokenizer.unk_token) if t in vocabulary and t != tokenizer.eos_token), None
        )
        if spare is None:
            raise InvalidInputError(
                f"{base_model}: its pad token is its end-of-text token and its vocabulary has no spare token; "
                "set pad_token in tokenizer_config.json to a token of the vocabulary that texts do not hold"
            )
        tokenizer.pad_token = spare
    tokenizer.padding_side = "right"
    return tokenizer


def find_device() -> Device:
    """The GPU of this process, or the CPU with the memory that can be had."""
    import psutil
    import torch

    count = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        index = int(os.environ.get("LOCAL_RANK", "0"))
        properties = torch.cuda.get_device_properties(index)
        free = torch.cuda.mem_get_info(index)[0] / GIB
        return Device("cuda", properties.name, free, (properties.major, properties.minor), count)
    # Not what is unused: the page cache is given back when memory is wanted.
    return Device("cpu", "CPU", psutil.virtual_memory().available / GIB, count=count)


def load_base(base_model: str, config: TrainingConfig, plan: Plan, revision: str | None = None) -> Any:
    """The base model, frozen, on this process's device, in NF4 or 16 bits."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = torch.bfloat16 if plan.compute == "bf16" else torch.float32
    quantization = None
    if config.quantization == "nf4":
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=plan.double_quantization,
            bnb_4bit_compute_dtype=dtype,
            # FSDP shards parameters of one floating type, the packed 4-bit ones too.
            **({"bnb_4bit_quant_storage": dtype} if config.fsdp else {}),
        )
    device: Any = int(os.environ.get("LOCAL_RANK", "0")) if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        base_model,
        revision=revision,
        dtype=dtype,
        device_map=None if config.fsdp else {"": device},
        attn_implementation=attention.register() if config.padding_free else "sdpa",
        quantization_config=quantization,
    )
    forbid_cpu_repacking(model)
    if plan.liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        # The loss stays TRL's: its fused head computes the answer's logits alone.
        _apply_liger_kernel_to_instance(model, cross_entropy=False, fused_linear_cross_entropy=False)
    if config.kbit_preparation and quantization:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model


def forbid_cpu_repacking(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with avx512_bf16.

    There the first forward pass in eval mode turns the weights into a layout that the backward pass and a merge then
    read as garbage, without an error (bitsandbytes 0.50.2, nn/modules.py, Linear4bit.forward).
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def lora_config(config: TrainingConfig) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=list(config.lora.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def set_adapter_dtype(model: Any, dtype: str) -> None:
    """Give the adapter's weights one dtype: TRL makes them bf16, loading a checkpoint makes them fp32."""
    import torch

    wanted = torch.bfloat16 if dtype == "bf16" else torch.float32
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(wanted)
