"""Estimate the peak memory of a training run; docs/results/training.md compares estimates with measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.config.training import LoraSettings
from insurance_rag.core.records import MemoryPlan
from insurance_rag.models.linear_layers import LinearLayers, linear_layers
from insurance_rag.training.target_modules import adapted_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of a base model that determine its memory use. Widths are numbers of elements."""

    linear_parameters: int
    """Number of parameters in the linear layers, which are quantized."""
    embedding_parameters: int
    """Number of parameters in the embeddings and the output head, which are not quantized."""
    largest_linear: int
    """Number of parameters in the largest linear layer."""
    layers: int
    hidden: int
    attention: int
    """Combined width of the queries of all heads."""
    key_value: int
    """Combined width of the keys of all heads; the values have the same width."""
    intermediate: int
    adapted: int
    """Sum of the input and output widths of all adapted layers. A LoRA adapter of rank r has `r * adapted`
    parameters."""
    adapted_outputs: int
    """Sum of the output widths of all adapted layers, which is the number of DoRA's magnitudes."""
    largest_adapted_input: int
    """Largest input width of the adapted layers."""
    adapted_mlp_inputs: int
    """Sum of the input widths of the adapted layers in the MLPs. The gate and up projections have the same input."""


def model_shape(model_config: PretrainedConfig, target_modules: str | Sequence[str]) -> ModelShape:
    """Read the shape from the configuration of a Llama-like model (Llama, Gemma, Qwen, Mistral and others)."""
    adapted = adapted_layers(linear_layers(model_config), target_modules)
    c = model_config.get_text_config()
    head_width = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    attention, key_value = c.num_attention_heads * head_width, c.num_key_value_heads * head_width
    sizes = {
        "q_proj": (c.hidden_size, attention),
        "k_proj": (c.hidden_size, key_value),
        "v_proj": (c.hidden_size, key_value),
        "o_proj": (attention, c.hidden_size),
        "gate_proj": (c.hidden_size, c.intermediate_size),
        "up_proj": (c.hidden_size, c.intermediate_size),
        "down_proj": (c.intermediate_size, c.hidden_size),
    }
    return ModelShape(
        linear_parameters=c.num_hidden_layers * sum(a * b for a, b in sizes.values()),
        embedding_parameters=c.vocab_size * c.hidden_size * (1 if c.tie_word_embeddings else 2),
        largest_linear=max(a * b for a, b in sizes.values()),
        layers=c.num_hidden_layers,
        hidden=c.hidden_size,
        attention=attention,
        key_value=key_value,
        intermediate=c.intermediate_size,
        adapted=sum(inputs + outputs for inputs, outputs in adapted.values()),
        adapted_outputs=sum(outputs for _, outputs in adapted.values()),
        largest_adapted_input=max((inputs for inputs, _ in adapted.values()), default=0),
        adapted_mlp_inputs=_mlp_inputs(adapted, c.intermediate_size),
    )


def _mlp_inputs(adapted: LinearLayers, intermediate: int) -> int:
    """Return the sum of the input widths of the MLP layers in `adapted`, counting an input of several layers once."""
    inputs = {(name.rpartition(".")[0], size[0]) for name, size in adapted.items() if intermediate in size}
    return sum(width for _, width in inputs)


def adapter_parameters(lora: LoraSettings, shape: ModelShape) -> int:
    """Return the number of parameters of the adapter."""
    return lora.r * shape.adapted + (shape.adapted_outputs if lora.use_dora else 0)


def estimate_peak_bytes(plan: MemoryPlan, config: TrainingConfig, shape: ModelShape, lengths: Sequence[int]) -> float:
    """Return the estimated peak memory in bytes.

    The estimate covers the weights, the adapter and its optimizer, the activations of the largest micro-batch, and
    dequantized weights. `lengths` holds the number of tokens in each row, or in the longer sequence of each pair.
    """
    width = _bytes(plan.compute_dtype)
    n_sequences = 1 if config.objective == "sft" else 2  # a preference pair has two
    tokens = n_sequences * _largest_micro_batch(lengths, plan, padded=not config.padding_free)
    activations = tokens * _activation_bytes_per_token(plan, config, shape)
    temporary = 3 * shape.largest_linear * width + (_dora_bytes(shape) if config.lora.use_dora else 0)
    return _model_bytes(plan, config, shape) + _adapter_bytes(plan, config, shape) + activations + temporary


def _dora_bytes(shape: ModelShape) -> int:
    """Return the size of the matrices with which peft computes the norms of one layer (`DoraLinearLayer.forward`).

    It multiplies B and A with an identity matrix (fp32, and bf16 under autocast). The product, the dequantized weight,
    their casts to fp32, the scaled product and the sum are as large as the weight.
    """
    return 6 * shape.largest_adapted_input**2 + 20 * shape.largest_linear


def _bytes(dtype: str) -> int:
    return 2 if dtype == "bf16" else 4


def _model_bytes(plan: MemoryPlan, config: TrainingConfig, shape: ModelShape) -> float:
    width = _bytes(plan.compute_dtype)
    nf4_width = 0.5 + (0.0163 if plan.double_quantization else 0.0625)  # 4 bits, plus one scale per 64 weights
    linear = shape.linear_parameters * (nf4_width if config.quantization == "nf4" else width)
    embeddings = shape.embedding_parameters * (4 if config.prepare_for_kbit_training else width)
    return linear + embeddings


def _adapter_bytes(plan: MemoryPlan, config: TrainingConfig, shape: ModelShape) -> float:
    """Return the size of the adapter's weights, their gradients and the optimizer's two moments."""
    width = _bytes(plan.adapter_dtype)
    moments = 2 * (1 if "8bit" in plan.optim else 4 if "32bit" in plan.optim else width)
    return adapter_parameters(config.lora, shape) * (2 * width + moments)


def _activation_bytes_per_token(plan: MemoryPlan, config: TrainingConfig, shape: ModelShape) -> float:
    """Return the number of bytes per token that are kept for the backward pass.

    With DoRA on a GPU, the fp32 magnitudes make the outputs of the adapted layers fp32.
    """
    width = 4 if config.lora.use_dora else _bytes(plan.compute_dtype)
    # Number of elements that one layer keeps per token. Kept are the inputs of both norms, the output of the first
    # norm, queries, keys, values, the attention output, and the gate and up projections. Without Liger, more
    # intermediate results are kept. With dropout, its masks and the masked inputs are kept too.
    layer = (
        3 * shape.hidden
        + 2 * shape.attention
        + 2 * shape.key_value
        + (2 if plan.use_liger_kernel else 3.5) * shape.intermediate
    )
    layer += (0 if plan.use_liger_kernel else 4 * shape.hidden) + (3 * 1.5 * shape.hidden if config.lora.dropout else 0)
    # Adapters keep the inputs of their layers. Attention to padded rows repeats the keys and values for every head.
    layer += shape.adapted_mlp_inputs / shape.layers
    layer += 0 if config.padding_free else 2 * (shape.attention - shape.key_value)
    # DoRA keeps the outputs of the base layer and of the adapter, to learn the magnitudes.
    layer += 2 * shape.adapted_outputs / shape.layers if config.lora.use_dora else 0
    if not plan.gradient_checkpointing:
        return shape.layers * layer * width
    # fp32 embeddings make the residual stream fp32 too.
    residual_stream = shape.hidden * (4 if config.prepare_for_kbit_training else width)
    return shape.layers * residual_stream + 1.5 * layer * width


def _largest_micro_batch(lengths: Sequence[int], plan: MemoryPlan, *, padded: bool) -> float:
    """Return the number of tokens expected in the largest micro-batch.

    With `padded`, every row counts as long as the longest one. Otherwise, the tokens of a batch are divided equally
    among the batch's micro-batches. The largest micro-batch is then part of the batch with the most tokens. The token
    count of this batch is estimated: mean plus three standard deviations. About one batch in a thousand has more.
    """
    if not lengths:
        return 0.0
    longest = max(lengths)
    micro_batch = plan.per_device_train_batch_size
    if padded:
        return float(micro_batch * longest)
    rows = micro_batch * plan.gradient_accumulation_steps
    batch = rows * statistics.fmean(lengths) + 3 * statistics.pstdev(lengths) * math.sqrt(rows)
    return min(micro_batch * longest, max(longest, batch / plan.gradient_accumulation_steps))
