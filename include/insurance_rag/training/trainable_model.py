"""Load the base model for training, and configure its adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import MemoryPlan
from insurance_rag.models.attention import register_varlen_attention
from insurance_rag.models.base_model import load_base_model
from insurance_rag.models.quantization import nf4_config

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import PretrainedConfig, PreTrainedModel


def load_trainable_model(
    base_model: str, config: TrainingConfig, plan: MemoryPlan, revision: str | None = None
) -> PreTrainedModel:
    """Load the base model with the quantization, attention and kernels that the recipe and the memory plan choose.

    With FSDP, the model is not placed on a device yet. Raises InvalidInputError if the model cannot be loaded.
    """
    import torch

    dtype = torch.bfloat16 if plan.compute_dtype == "bf16" else torch.float32
    quantization = None
    if config.quantization == "nf4":
        # FSDP requires all parameters, including the packed 4-bit weights, to have the same floating-point dtype.
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

        # Keep TRL's fused loss, which computes logits only for the answer tokens.
        _apply_liger_kernel_to_instance(model, cross_entropy=False, fused_linear_cross_entropy=False)
    if config.prepare_for_kbit_training and quantization is not None:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model


def lora_config(config: TrainingConfig) -> LoraConfig:
    """Return the adapter's configuration for peft."""
    from peft import LoraConfig

    targets = config.lora.target_modules
    return LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=config.lora.use_rslora,
        use_dora=config.lora.use_dora,
        init_lora_weights=config.lora.init_lora_weights,
        bias="none",
        task_type="CAUSAL_LM",
    )


def layers_are_random(model_config: PretrainedConfig, config: TrainingConfig) -> bool:
    """Return whether the layers may draw random numbers in training. Their recomputation must then draw the same ones.

    Some base models have dropout of their own, and some routers add noise or draw the experts.
    """
    settings = model_config.get_text_config().to_dict().items()
    values = [value for name, value in settings if any(word in name for word in ("drop", "jitter", "expert"))]
    return config.lora.dropout > 0 or any(isinstance(value, int | float) and value > 0 for value in values)


def check_magnitudes(model: torch.nn.Module) -> None:
    """Raise InvalidInputError if a layer with a DoRA adapter has a row of zeros.

    DoRA divides by the norm of every row of the weight, so a row of zeros would turn the loss into NaN.
    """
    affected = [
        name.partition(".lora_magnitude_vector")[0].removeprefix("base_model.model.")
        for name, parameter in model.named_parameters()
        if "lora_magnitude_vector" in name and not bool((parameter > 0).all())
    ]
    if affected:
        raise InvalidInputError(
            f"lora.use_dora: {len(affected)} layers of the base model have rows of zeros (the first is {affected[0]}), "
            "and DoRA divides by the norms of the rows; leave them out of lora.target_modules, or set "
            "lora.use_dora=false"
        )


def set_adapter_dtype(model: torch.nn.Module, dtype: str) -> None:
    """Convert all trainable weights to `bf16` or `fp32`. DoRA's magnitudes are always fp32.

    Without this conversion, TRL would use bf16 for a new adapter and fp32 for one loaded from a checkpoint. In bf16,
    most steps of a magnitude would be lost, because they are much smaller than the magnitude (trl #7268).
    """
    import torch

    wanted = torch.bfloat16 if dtype == "bf16" else torch.float32
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32 if "lora_magnitude_vector" in name else wanted)
