"""How a run is laid out on the card: presets by memory, and the estimate that stands behind `memory: auto`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

from insurance_rag.config import TrainingConfig

GIB = 2**30
#: Share of the free memory that an estimate may fill; the rest is for fragmentation and the estimate's own error.
HEADROOM = 0.9
#: (micro-batch, checkpointing, double quantisation, optimizer), fastest first; figures in docs/results/training.md.
Layout = tuple[int, bool, bool, str]
PRESETS: dict[str, Layout] = {
    "80GB": (16, False, False, "adamw_torch_fused"),
    "24GB": (8, True, True, "adamw_torch_fused"),
    "8GB": (2, True, True, "adamw_8bit"),
}
LADDER: tuple[Layout, ...] = (
    PRESETS["80GB"],
    (8, False, False, "adamw_torch_fused"),
    PRESETS["24GB"],
    (4, True, True, "adamw_torch_fused"),
    PRESETS["8GB"],
    (1, True, True, "adamw_8bit"),
)


@dataclass(frozen=True)
class Device:
    """Where the training runs."""

    kind: Literal["cuda", "cpu"]
    name: str
    free_gib: float
    capability: tuple[int, int] = (0, 0)
    count: int = 1
    """Processes that train together."""


@dataclass(frozen=True)
class Shape:
    """What of a base model decides its memory. Widths in elements."""

    linear_parameters: int
    embedding_parameters: int
    largest_linear: int
    layers: int
    hidden: int
    attention: int
    key_value: int
    intermediate: int
    adapted: int
    """Sum of the input and output widths of the adapted layers: times the rank, the adapter's parameters."""


@dataclass(frozen=True)
class Plan:
    """The settings that were `auto`, decided."""

    micro_batch: int
    accumulation: int
    checkpointing: bool
    double_quantization: bool
    optimizer: str
    compute: Literal["bf16", "fp32"]
    adapter_dtype: Literal["bf16", "fp32"]
    liger: bool
    estimate_gib: float
    preset: str

    def __str__(self) -> str:
        keep = "checkpointing" if self.checkpointing else "no checkpointing"
        return (
            f"preset {self.preset}: {self.micro_batch} rows x {self.accumulation}, {keep}, {self.optimizer},"
            f" {self.compute}, about {self.estimate_gib:.1f} GiB"
        )


def shape_of(model_config: Any, targets: Sequence[str]) -> Shape:
    """Read the shape off a transformers configuration of the Llama kind (Llama, Gemma, Qwen, Mistral ...)."""
    c = model_config.get_text_config()
    width = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    attention, key_value = c.num_attention_heads * width, c.num_key_value_heads * width
    sizes = {
        "q_proj": (c.hidden_size, attention),
        "k_proj": (c.hidden_size, key_value),
        "v_proj": (c.hidden_size, key_value),
        "o_proj": (attention, c.hidden_size),
        "gate_proj": (c.hidden_size, c.intermediate_size),
        "up_proj": (c.hidden_size, c.intermediate_size),
        "down_proj": (c.intermediate_size, c.hidden_size),
    }
    return Shape(
        linear_parameters=c.num_hidden_layers * sum(a * b for a, b in sizes.values()),
        embedding_parameters=c.vocab_size * c.hidden_size * (1 if c.tie_word_embeddings else 2),
        largest_linear=max(a * b for a, b in sizes.values()),
        layers=c.num_hidden_layers,
        hidden=c.hidden_size,
        attention=attention,
        key_value=key_value,
        intermediate=c.intermediate_size,
        adapted=c.num_hidden_layers * sum(sum(sizes[t]) for t in targets if t in sizes),
    )


def make_plan(config: TrainingConfig, shape: Shape, lengths: Sequence[int], device: Device) -> Plan:
    """Fill in what the recipe left to `auto`; the first layout of the ladder whose estimate fits the free memory."""
    layouts = [PRESETS[config.memory]] if config.memory != "auto" else list(LADDER)
    plans = [_fill_in(config, shape, lengths, device, layout) for layout in layouts]
    return next((plan for plan in plans if plan.estimate_gib <= HEADROOM * device.free_gib), plans[-1])


def _fill_in(config: TrainingConfig, shape: Shape, lengths: Sequence[int], device: Device, layout: Layout) -> Plan:
    micro, checkpointing, double, optimizer = layout
    per_device = max(1, config.batch_size // device.count)
    micro = min(per_device, micro if config.micro_batch == "auto" else config.micro_batch)
    while per_device % micro:  # the accumulated rows must make up the batch exactly
        micro -= 1
    compute = ("bf16" if device.kind == "cuda" else "fp32") if config.compute == "auto" else config.compute
    checkpointing = checkpointing if config.checkpointing == "auto" else config.checkpointing
    plan = Plan(
        micro_batch=micro,
        accumulation=per_device // micro,
        checkpointing=checkpointing,
        double_quantization=double if config.double_quantization == "auto" else config.double_quantization,
        optimizer=optimizer if config.optimizer == "auto" else config.optimizer,
        compute=compute,
        adapter_dtype=compute if config.adapter_dtype == "auto" else config.adapter_dtype,
        liger=_use_liger(config, device),
        estimate_gib=0.0,
        preset=next((name for name, preset in PRESETS.items() if preset == layout), f"micro-batch {micro}"),
    )
    return replace(plan, estimate_gib=round(estimate_bytes(plan, config, shape, lengths) / GIB, 2))


def estimate_bytes(plan: Plan, config: TrainingConfig, shape: Shape, lengths: Sequence[int]) -> float:
    """Peak bytes allocated: weights, adapter and optimizer, activations of the largest micro-batch, scratch."""
    width = 2 if plan.compute == "bf16" else 4
    four_bit = 0.5 + (0.0163 if plan.double_quantization else 0.0625)  # a scale for every 64 weights
    base = shape.linear_parameters * (four_bit if config.quantization == "nf4" else width)
    embeddings = shape.embedding_parameters * (4 if config.kbit_preparation else width)
    adapter = config.lora.r * shape.adapted
    adapter_width = 2 if plan.adapter_dtype == "bf16" else 4
    moments = 2 * (1 if "8bit" in plan.optimizer else 4 if "32bit" in plan.optimizer else adapter_width)
    trained = adapter * (2 * adapter_width + moments)
    tokens = _largest_micro_batch(lengths, plan, padded=not config.padding_free)
    # What a layer keeps for its backward pass, in elements a token: both norms' inputs and the first one's output,
    # q, k, v, attention's output, gate and up (and their product without Liger), and dropout's copies and masks.
    layer = (
        3 * shape.hidden + 2 * shape.attention + 2 * shape.key_value + (2 if plan.liger else 3.5) * shape.intermediate
    )
    layer += (0 if plan.liger else 4 * shape.hidden) + (3 * 1.5 * shape.hidden if config.lora.dropout else 0)
    stream = shape.hidden * (
        4 if config.kbit_preparation else width
    )  # bytes; fp32 embeddings make an fp32 residual stream
    kept = shape.layers * stream + 1.5 * layer * width if plan.checkpointing else shape.layers * layer * width
    scratch = 3 * shape.largest_linear * width  # dequantised weights
    return base + embeddings + trained + tokens * kept + scratch


def _largest_micro_batch(lengths: Sequence[int], plan: Plan, *, padded: bool) -> float:
    """Tokens of the largest micro-batch to expect in a thousand batches, which are dealt evenly (three deviations)."""
    if not lengths:
        return 0.0
    longest = max(lengths)
    if padded:
        return float(plan.micro_batch * longest)
    rows = plan.micro_batch * plan.accumulation
    batch = rows * statistics.fmean(lengths) + 3 * statistics.pstdev(lengths) * math.sqrt(rows)
    return min(plan.micro_batch * longest, max(longest, batch / plan.accumulation))


def _use_liger(config: TrainingConfig, device: Device) -> bool:
    """On a GPU that has it; not under torch.compile, which cannot trace its norm and fuses the same by itself."""
    if config.liger != "auto":
        return config.liger
    return device.kind == "cuda" and not config.compile and find_spec("liger_kernel") is not None
