"""The configurations of the training benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Run:
    """One configuration of the benchmark."""

    steps: int
    """Number of optimizer steps to measure."""
    settings: dict[str, object] = field(default_factory=dict)
    """Settings that override those of the recipe."""
    recipe: str = "v3"
    plain_trl: bool = False
    """Whether to use TRL's trainer, as described in TRL's documentation, instead of the pipeline's trainer."""
    warmup: int = 3
    """Number of optimizer steps before the measured ones."""
    processes: int = 1
    """Number of processes, each with its own GPU."""
    limit_s: float = 75.0
    """Seconds after which the worker is killed."""


def _preset(name: str, **settings: object) -> Run:
    """Return a memory preset. Compiled configurations get more time, because compiling takes more than a minute."""
    compiled = bool(settings.get("torch_compile", False))
    return Run(6, {"memory_preset": name, **settings}, warmup=2, limit_s=140 if compiled else 60)


def _pairs(name: str) -> Run:
    return Run(4, {"memory_preset": name}, recipe="v4", warmup=1, limit_s=60)


_OFF = {"offload_activations": False, "host_embeddings": False}
_CACHED = {"compute": "cached", "per_device_train_batch_size": 8}
#: The compiled configurations come last, so that slow compiling cannot take the time of the others.
RUNS: dict[str, Run] = {
    "reference v1/v2": Run(6, {"profile": "reference", "batch_size": 8, "per_device_train_batch_size": 2}),
    "reference v3": Run(5, {"profile": "reference"}),
    "plain TRL, bf16": Run(5, plain_trl=True),
    "80GB": _preset("80GB"),
    "24GB": _preset("24GB"),
    "8GB": _preset("8GB"),
    "24GB, offload": _preset("24GB", offload_activations=True),
    "80GB, cached": _preset("80GB", **_CACHED),
    "DPO, 80GB": _pairs("80GB"),
    "DPO, 24GB": _pairs("24GB"),
    "DPO, 8GB": _pairs("8GB"),
    "24GB, all-linear": _preset("24GB", lora={"target_modules": "all-linear"}),
    "80GB, all-linear": _preset("80GB", lora={"target_modules": "all-linear"}, per_device_train_batch_size=8),
    "24GB, 16 rows, offload": _preset("24GB", offload_activations=True, per_device_train_batch_size=16),
    "80GB, 16 rows, cached": _preset("80GB", compute="cached"),
    "80GB, 8 rows": _preset("80GB", per_device_train_batch_size=8),
    "80GB, bf16 base": _preset("80GB", quantization="none", per_device_train_batch_size=8),
    "8GB, embeddings on the GPU": _preset("8GB", host_embeddings=False),
    "8GB, 4 rows": _preset("8GB", per_device_train_batch_size=4),
    "8GB, 4 rows, nothing in host memory": _preset("8GB", **_OFF, per_device_train_batch_size=4),
    "8GB, fused optimizer": _preset("8GB", optim="adamw_torch_fused"),
    "80GB, 16 rows, cached, compiled": _preset("80GB", compute="cached", torch_compile=True),
    "80GB, 16 rows, fp8, compiled": _preset("80GB", compute="fp8", torch_compile=True),
    "24GB, compiled": _preset("24GB", torch_compile=True),
    "8GB, compiled": _preset("8GB", torch_compile=True),
    "80GB, compiled": _preset("80GB", torch_compile=True),
    "80GB, cached, compiled": _preset("80GB", **_CACHED, torch_compile=True),
    "ddp2": Run(12, {"memory_preset": "80GB", "batch_size": 32}, processes=2),
    "fsdp2": Run(8, {"memory_preset": "24GB", "batch_size": 32, "fsdp": True}, processes=2, limit_s=90),
}
SINGLE_GPU_RUNS = [name for name, run in RUNS.items() if run.processes == 1]
