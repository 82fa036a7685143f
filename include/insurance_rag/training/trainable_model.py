"""The base model and its adapter, prepared for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import MemoryPlan
from insurance_rag.models.attention import register_varlen_attention
from insurance_rag.models.base_model import load_base_model
from insurance_rag.models.quantization import nf4_config

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import PreTrainedModel


def load_trainable_model(
    base_model: str, config: TrainingConfig, plan: MemoryPlan, revision: str | None = None
) -> PreTrainedModel:
    """Load the base model, in NF4 or 16 bits, with the attention and the kernels of the plan.

    Under FSDP the model is left for FSDP to place. Raises InvalidInputError if the model cannot be loaded.
    """
    import torch

    dtype = torch.bfloat16 if plan.compute_dtype == "bf16" else torch.float32
    quantization = None
    if config.quantization == "nf4":
        # FSDP shards parameters of one floating type, and the packed 4-bit weights are among them.
        storage_dtype = dtype if config.fsdp else None
        quantization = nf4_config(dtype, double_quantization=plan.double_quantization, storage_dtype=storage_dtype)
    model = load_base_model(
        base_model,
        dtype,
        revision=revision,
        quantization=quantization,
        attention=register_varlen_attention() if config.padding_free else "sdpa",
        place_on_device=not config.fsdp,
    )
    if plan.use_liger_kernel:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        # TRL's fused loss stays: it computes logits only for the tokens of the answer.
        _apply_liger_kernel_to_instance(model, cross_entropy=False, fused_linear_cross_entropy=False)
    if config.prepare_for_kbit_training and quantization is not None:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model


def lora_config(config: TrainingConfig) -> LoraConfig:
    """Return peft's configuration of the adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=list(config.lora.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def set_adapter_dtype(model: torch.nn.Module, dtype: str) -> None:
    """Convert all trainable weights to `bf16` or `fp32`.

    TRL converts new adapters to bf16 and loading a checkpoint converts them to fp32; both are set to the same dtype.
    """
    import torch

    wanted = torch.bfloat16 if dtype == "bf16" else torch.float32
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(wanted)
