"""Choose the settings that determine how much GPU memory training needs: presets, and `memory_preset: auto`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records.training import ComputeDtype
from insurance_rag.models.devices import GIB, Device
from insurance_rag.training.memory_estimate import ModelShape, estimate_peak_bytes
from insurance_rag.training.training_plan import Compute, TrainingPlan, replaces_layers

#: A layout fits if its estimate is at most this fraction of the free memory. The rest is a reserve, because estimates
#: are not exact and memory becomes fragmented.
USABLE_SHARE = 0.9


class Layout(NamedTuple):
    """The settings that a memory preset determines."""

    per_device_train_batch_size: int
    pairs: int
    """Number of preference pairs per forward pass. A pair has two sequences, and both are padded to the longest one."""
    gradient_checkpointing: bool
    double_quantization: bool
    optim: str
    compute: Compute = "dequantize"
    offload_activations: bool = False
    host_embeddings: bool = False


#: Memory presets, fastest first. docs/training.md has the byte budget, docs/results/training.md the measurements.
PRESETS: dict[str, Layout] = {
    "80GB": Layout(16, 2, False, False, "adamw_torch_fused"),
    "24GB": Layout(8, 4, True, True, "adamw_torch_fused"),
    "8GB": Layout(8, 1, True, True, "adamw_8bit", offload_activations=True, host_embeddings=True),
}
#: Layouts that `memory_preset: auto` tries, fastest first.
LAYOUTS: tuple[Layout, ...] = (
    PRESETS["80GB"],
    PRESETS["80GB"]._replace(per_device_train_batch_size=8, pairs=1),
    PRESETS["24GB"],
    PRESETS["8GB"],
    PRESETS["8GB"]._replace(per_device_train_batch_size=4),
    PRESETS["8GB"]._replace(per_device_train_batch_size=2),
    PRESETS["8GB"]._replace(per_device_train_batch_size=1),
)


def plan_memory(config: TrainingConfig, shape: ModelShape, lengths: Sequence[int], device: Device) -> TrainingPlan:
    """Choose values for the settings that are `auto` in the recipe. The values come from the fastest layout that fits.

    `lengths` holds the number of tokens in each row, or in the longer sequence of each pair. If no layout fits, the
    plan uses the smallest one.
    """
    layouts = LAYOUTS if config.memory_preset == "auto" else (PRESETS[config.memory_preset],)
    plans = [_apply_layout(config, shape, lengths, device, layout) for layout in layouts]
    return next((plan for plan in plans if plan.estimate_gib <= USABLE_SHARE * device.free_gib), plans[-1])


def _apply_layout(
    config: TrainingConfig, shape: ModelShape, lengths: Sequence[int], device: Device, layout: Layout
) -> TrainingPlan:
    rows_per_device = max(1, config.batch_size // device.count)
    micro_batch = _micro_batch_size(config, rows_per_device, layout)
    compute_dtype = config.compute_dtype
    if compute_dtype == "auto":
        compute_dtype = "bf16" if device.kind == "cuda" else "fp32"
    checkpointing = _decide(config.gradient_checkpointing, layout.gradient_checkpointing)
    is_replaced = replaces_layers(config)
    may_offload = is_replaced and device.kind == "cuda"
    compiled = is_replaced and config.torch_compile
    plan = TrainingPlan(
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=rows_per_device // micro_batch,
        gradient_checkpointing=checkpointing,
        double_quantization=_decide(config.double_quantization, layout.double_quantization),
        optim=layout.optim if config.optim == "auto" else config.optim,
        compute_dtype=compute_dtype,
        adapter_dtype=_adapter_dtype(config, compute_dtype),
        # torch.compile fuses the operations of Liger's kernels itself.
        use_liger_kernel=_decide(config.use_liger_kernel, _liger_is_usable(device) and not compiled),
        estimate_gib=0.0,
        preset=next((name for name, preset in PRESETS.items() if preset == layout), f"micro-batch {micro_batch}"),
        compute=_compute(config, layout, device) if is_replaced else "dequantize",
        torch_compile=compiled,
        offload_activations=may_offload
        and checkpointing
        and _decide(config.offload_activations, layout.offload_activations),
        host_embeddings=may_offload
        and not shape.tied_embeddings
        and _decide(config.host_embeddings, layout.host_embeddings),
    )
    estimate_gib = round(estimate_peak_bytes(plan, config, shape, lengths) / GIB, 2)
    return plan.model_copy(update={"estimate_gib": estimate_gib})


def _compute(config: TrainingConfig, layout: Layout, device: Device) -> Compute:
    if config.compute == "auto":
        return layout.compute if config.quantization == "nf4" and device.kind == "cuda" else "dequantize"
    return config.compute


def _adapter_dtype(config: TrainingConfig, compute_dtype: ComputeDtype) -> ComputeDtype:
    if config.adapter_dtype != "auto":
        return config.adapter_dtype
    return compute_dtype if config.fsdp else "fp32"


def _micro_batch_size(config: TrainingConfig, rows_per_device: int, layout: Layout) -> int:
    """Return the largest divisor of `rows_per_device` that does not exceed the wanted micro-batch size.

    The wanted size is set in the recipe. If it is `auto` there, the layout sets it.
    """
    wanted = config.per_device_train_batch_size
    rows_of_layout = layout.per_device_train_batch_size if config.objective == "sft" else layout.pairs
    size = min(rows_per_device, rows_of_layout if wanted == "auto" else wanted)
    while rows_per_device % size:
        size -= 1
    return size


def _decide(setting: bool | str, default: bool) -> bool:
    """Return `setting`, or `default` if the setting is `auto`."""
    return setting if isinstance(setting, bool) else default


def _liger_is_usable(device: Device) -> bool:
    """Return whether Liger's kernels are available."""
    return device.kind == "cuda" and find_spec("liger_kernel") is not None
