"""Estimate the peak memory of a training run; docs/results/training.md compares estimates with measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import MemoryPlan

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
    """Sum of the input and output widths of all adapted layers. An adapter of rank r has `r * adapted` parameters."""


def model_shape(model_config: PretrainedConfig, target_modules: Sequence[str]) -> ModelShape:
    """Read the shape from the configuration of a Llama-like model (Llama, Gemma, Qwen, Mistral and others)."""
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
        adapted=c.num_hidden_layers * sum(sum(sizes[t]) for t in target_modules if t in sizes),
    )


def estimate_peak_bytes(plan: MemoryPlan, config: TrainingConfig, shape: ModelShape, lengths: Sequence[int]) -> float:
    """Return the estimated peak memory in bytes.

    The estimate covers the weights, the adapter and its optimizer, the activations of the largest micro-batch, and
    dequantized weights. `lengths` holds the number of tokens in each row.
    """
    width = _bytes(plan.compute_dtype)
    tokens = _largest_micro_batch(lengths, plan, padded=not config.padding_free)
    activations = tokens * _activation_bytes_per_token(plan, config, shape)
    dequantized_weights = 3 * shape.largest_linear * width
    return _model_bytes(plan, config, shape) + _adapter_bytes(plan, config, shape) + activations + dequantized_weights


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
    return config.lora.r * shape.adapted * (2 * width + moments)


def _activation_bytes_per_token(plan: MemoryPlan, config: TrainingConfig, shape: ModelShape) -> float:
    """Return the number of bytes per token that are kept for the backward pass."""
    width = _bytes(plan.compute_dtype)
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
