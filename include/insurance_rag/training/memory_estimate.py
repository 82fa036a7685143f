"""Estimate the peak memory of a training run; docs/results/training.md compares estimates with measurements."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.config.training import LoraSettings
from insurance_rag.models.linear_layers import LinearLayers, linear_layers
from insurance_rag.training.target_modules import adapted_layers
from insurance_rag.training.training_plan import TrainingPlan, replaces_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig


LOSS_TILE = (4096, 32768)
"""Largest number of tokens and of words of the vocabulary whose logits TRL's fused loss holds at once."""
ANSWER_SHARE = 0.25
"""Share of a micro-batch's tokens that belong to answers. In the reference design it is 0.12."""
MAX_SEARCHED_ROWS = 30_000
"""Number of rows, over all epochs, among which the largest micro-batch is searched."""
OFFLOADED_INPUTS = 3
"""Number of layer inputs that are on the GPU at once while the others are in host memory."""


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of a base model that determine its memory use. Widths are numbers of elements."""

    linear_parameters: int
    """Number of parameters in the linear layers, which are quantized."""
    embedding_parameters: int
    """Number of parameters in the embeddings and the output head, which are not quantized."""
    tied_embeddings: bool
    """Whether the output head shares its weight with the input embeddings."""
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
        tied_embeddings=c.tie_word_embeddings,
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


def estimate_peak_bytes(plan: TrainingPlan, config: TrainingConfig, shape: ModelShape, lengths: Sequence[int]) -> float:
    """Return the estimated peak memory in bytes.

    The estimate covers the weights, the adapter and its optimizer, the activations of the largest micro-batch, the
    loss, and dequantized weights. `lengths` holds the number of tokens in each row, or in the longer sequence of each
    pair.
    """
    n_sequences = 1 if config.objective == "sft" else 2  # a preference pair has two
    tokens = n_sequences * _largest_micro_batch(lengths, plan, config)
    activations = tokens * _activation_bytes_per_token(plan, config, shape) + _loss_bytes(tokens, config, shape)
    return (
        _model_bytes(plan, config, shape)
        + _adapter_bytes(plan, config, shape)
        + activations
        + _temporary_weight_bytes(plan, config, shape)
    )


def _loss_bytes(tokens: float, config: TrainingConfig, shape: ModelShape) -> float:
    """Return the memory of TRL's fused loss: a tile of logits, and the hidden states of the answers in three copies."""
    answers = tokens * (ANSWER_SHARE if config.completion_only_loss else 1)
    return min(answers, LOSS_TILE[0]) * LOSS_TILE[1] * 2 + answers * shape.hidden * 8


def _temporary_weight_bytes(plan: TrainingPlan, config: TrainingConfig, shape: ModelShape) -> float:
    if config.lora.use_dora:
        return 3 * shape.largest_linear * _bytes(plan.compute_dtype) + _dora_bytes(shape)
    if plan.compute != "dequantize" or config.quantization == "none":
        return 0.0
    copies = 1 if replaces_layers(config) else 3
    return copies * shape.largest_linear * _bytes(plan.compute_dtype)


def _dora_bytes(shape: ModelShape) -> int:
    """Return the size of the matrices with which peft computes the norms of one layer (`DoraLinearLayer.forward`).

    It multiplies B and A with an identity matrix (fp32, and bf16 under autocast). The product, the dequantized weight,
    their casts to fp32, the scaled product and the sum are as large as the weight.
    """
    return 6 * shape.largest_adapted_input**2 + 20 * shape.largest_linear


def _bytes(dtype: str) -> int:
    return 2 if dtype == "bf16" else 4


def _model_bytes(plan: TrainingPlan, config: TrainingConfig, shape: ModelShape) -> float:
    width: float = _bytes(plan.compute_dtype)
    # 4 bits, plus one scale per 64 weights
    weight = 0.5 + (0.0163 if plan.double_quantization else 0.0625) if config.quantization == "nf4" else width
    weight = {"dequantize": weight, "cached": width, "fp8": 2.0}[plan.compute]  # fp8: the weight and its transpose
    embeddings = shape.embedding_parameters * (0.5 if plan.host_embeddings else 1)
    return shape.linear_parameters * weight + embeddings * (4 if config.prepare_for_kbit_training else width)


def _adapter_bytes(plan: TrainingPlan, config: TrainingConfig, shape: ModelShape) -> float:
    """Return the size of the adapter's weights, their gradients and the optimizer's two moments."""
    width = _bytes(plan.adapter_dtype)
    moments = 2 * (1 if "8bit" in plan.optim else 4 if "32bit" in plan.optim else width)
    return adapter_parameters(config.lora, shape) * (2 * width + moments)


def _activation_bytes_per_token(plan: TrainingPlan, config: TrainingConfig, shape: ModelShape) -> float:
    """Return the number of bytes per token that are kept for the backward pass.

    With DoRA on a GPU, the fp32 magnitudes make the outputs of the adapted layers fp32.
    """
    width = 4 if config.lora.use_dora else _bytes(plan.compute_dtype)
    layer = _layer_elements(plan, config, shape) * width
    if not plan.gradient_checkpointing:
        return shape.layers * layer + _reference_elements(config, shape) * width
    # fp32 embeddings make the residual stream fp32 too.
    residual_stream = shape.hidden * (4 if config.prepare_for_kbit_training else width)
    kept_inputs = OFFLOADED_INPUTS if plan.offload_activations else shape.layers
    return kept_inputs * residual_stream + (1.75 if plan.torch_compile else 1.5) * layer


def _layer_elements(plan: TrainingPlan, config: TrainingConfig, shape: ModelShape) -> float:
    """Return the number of elements that one layer keeps per token.

    Kept are the inputs of both norms, the output of the first norm, queries, keys, values, the attention output, and
    the gate and up projections. Without fused kernels, more intermediate results are kept. Compiled layers keep the
    output of the second norm too. With dropout, its masks and the masked inputs are kept too.
    """
    is_fused = plan.use_liger_kernel or plan.torch_compile
    elements = (
        (4 if plan.torch_compile else 3) * shape.hidden
        + 2 * shape.attention
        + 2 * shape.key_value
        + (2 if is_fused else 3.5) * shape.intermediate
    )
    elements += (0 if is_fused else 4 * shape.hidden) + (3 * 1.5 * shape.hidden if config.lora.dropout else 0)
    # Adapters keep the inputs of their layers. Attention to padded rows repeats the keys and values for every head.
    elements += shape.adapted_mlp_inputs / shape.layers
    elements += 0 if config.padding_free else 2 * (shape.attention - shape.key_value)
    # DoRA keeps the outputs of the base layer and of the adapter, to learn the magnitudes.
    return elements + (2 * shape.adapted_outputs / shape.layers if config.lora.use_dora else 0)


def _reference_elements(config: TrainingConfig, shape: ModelShape) -> float:
    """Return the number of elements per token in one layer of the reference, which runs while activations are kept."""
    return 3 * shape.intermediate + 3 * shape.hidden if config.objective == "dpo" else 0.0


def _largest_micro_batch(lengths: Sequence[int], plan: TrainingPlan, config: TrainingConfig) -> int:
    """Return the number of tokens in the largest micro-batch of this training.

    Padded rows count as long as the longest one. Rows without padding are arranged as the sampler will arrange them.
    """
    size = plan.per_device_train_batch_size
    if not lengths or not config.padding_free:
        return size * max(lengths, default=0)
    n_rows = config.max_steps * config.batch_size if config.max_steps else config.num_train_epochs * len(lengths)
    return _largest_balanced(tuple(lengths), config.batch_size, size, config.seed, math.ceil(n_rows))


@functools.lru_cache(maxsize=64)  # the layouts of a plan have few different sizes
def _largest_balanced(lengths: tuple[int, ...], batch_size: int, size: int, seed: int, n_rows: int) -> int:
    from insurance_rag.training.sampler import BalancedSampler

    sampler, largest = BalancedSampler(lengths, batch_size, size, seed), 0
    n_rows = min(n_rows, MAX_SEARCHED_ROWS)
    for epoch in range(math.ceil(n_rows / len(lengths))):
        sampler.set_epoch(epoch)
        tokens = [lengths[row] for row in itertools.islice(sampler, n_rows)]
        largest = max(largest, *(sum(tokens[i : i + size]) for i in range(0, len(tokens), size)))
    return largest
