"""Say which settings would make a training fit into the free memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from insurance_rag.config import TrainingConfig
from insurance_rag.models.devices import Device
from insurance_rag.training.memory import plan_memory
from insurance_rag.training.memory_estimate import ModelShape

SHORTER = (1536, 1024, 768, 512, 256)
"""Values of `max_length` that are tried."""

Changes = Mapping[str, str | int]


def fitting_settings(config: TrainingConfig, shape: ModelShape, lengths: Sequence[int], device: Device) -> str | None:
    """Return the smallest change of settings with which the training is estimated to fit. None if there is none."""
    for changes in _candidates(config):
        changed = {name: value for name, value in changes.items() if getattr(config, name) != value}
        shorter = [min(length, int(changes.get("max_length", length))) for length in lengths]
        plan = plan_memory(config.model_copy(update=changed), shape, shorter, device)
        if changed and plan.estimate_gib <= device.free_gib:
            settings = ", ".join(f"{name}={value}" for name, value in changed.items())
            return f"{settings} (about {plan.estimate_gib:.1f} GiB)"
    return None


def _candidates(config: TrainingConfig) -> Iterator[Changes]:
    """Yield changes of settings from small to large."""
    preset = {"memory_preset": "auto"}
    free = {**preset, "per_device_train_batch_size": "auto", "gradient_checkpointing": "auto", "compute": "auto"}
    host = {**free, "offload_activations": "auto", "host_embeddings": "auto", "double_quantization": "auto"}
    yield from (preset, free, host, {**host, "quantization": "nf4"})
    for length in SHORTER:
        if length < config.max_length:
            yield {**host, "quantization": "nf4", "max_length": length}
