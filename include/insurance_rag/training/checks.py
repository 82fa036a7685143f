"""Check the device, packages, rows, memory and disk before training. Each check returns a list of error messages."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import MemoryPlan
from insurance_rag.models.devices import GIB, Device
from insurance_rag.training.encoding import EncodedPairs, EncodedRows
from insurance_rag.training.memory import USABLE_SHARE
from insurance_rag.training.memory_estimate import ModelShape, adapter_parameters
from insurance_rag.training.training_plan import replaces_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig

log = logging.getLogger(__name__)

#: Lowest CUDA compute capability that supports bf16 (Ampere).
BF16_CAPABILITY = (8, 0)
#: Lowest CUDA compute capability that multiplies in fp8 (Ada).
FP8_CAPABILITY = (8, 9)


def device_problems(config: TrainingConfig, device: Device) -> list[str]:
    """Return a message for each setting that does not work on this device or with this number of processes."""
    problems = []
    if device.kind == "cuda" and device.capability < BF16_CAPABILITY and config.compute_dtype != "fp32":
        capability = ".".join(map(str, device.capability))
        problems.append(
            f"{device.name} has compute capability {capability}, but bf16 needs 8.0 (Ampere); "
            "use another GPU, or set compute_dtype=fp32"
        )
    if config.compute == "fp8" and device.capability < FP8_CAPABILITY:
        problems.append(
            f"compute=fp8 needs a GPU with compute capability 8.9 or higher, but {device.name} has "
            f"{'.'.join(map(str, device.capability))}; set compute=auto"
        )
    if config.compute in ("cached", "fp8") and config.lora.use_dora:
        problems.append(
            f"compute={config.compute} does not keep the weights in NF4 that DoRA measures; set compute=auto"
        )
    if not replaces_layers(config):
        names = ("compute", "torch_compile", "offload_activations", "host_embeddings")
        problems += [
            f"{name}={value} does not work with fsdp or prepare_for_kbit_training; remove this setting"
            for name in names
            if (value := getattr(config, name)) not in ("auto", False)
        ]
    if device.kind == "cpu" and config.memory_preset != "auto":
        problems.append(
            f"memory_preset={config.memory_preset}, but no CUDA device is visible; "
            "check `nvidia-smi` and that torch is a CUDA build, or set memory_preset=auto"
        )
    if device.kind == "cpu" and config.fsdp:
        problems.append("fsdp needs CUDA devices, because on a CPU nothing is sharded; set fsdp=false")
    if config.gpus not in (1, device.count):
        problems.append(
            f"gpus={config.gpus}, but {device.count} processes are running; use the command `train`, which starts one "
            f"process per GPU, or torchrun with --nproc-per-node {config.gpus}"
        )
    if device.count > 1 and config.batch_size % device.count:
        problems.append(
            f"batch_size={config.batch_size} cannot be divided among {device.count} processes; set a multiple of "
            f"{device.count}"
        )
    return problems


def package_problems(config: TrainingConfig) -> list[str]:
    """Return a message for each setting that needs a package that is not installed."""
    required: dict[str, str] = {name: f"report_to={name}" for name in config.report_to}
    if config.use_liger_kernel is True:
        required["liger_kernel"] = "use_liger_kernel"
    distributions = {"liger_kernel": "liger-kernel"}
    return [
        f"{setting} needs the package {name}; run `pip install {distributions.get(name, name)}`, or change the setting"
        for name, setting in required.items()
        if find_spec(name) is None
    ]


def row_problems(
    rows: EncodedRows | EncodedPairs,
    total: int,
    config: TrainingConfig,
    model_config: PretrainedConfig,
    path: Path,
) -> list[str]:
    """Return a message for each problem with `max_length`, and log how many rows were skipped or shortened.

    `rows` holds the rows after encoding. `total` is the number of rows in the file `path`.
    """
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    problems = []
    if limit and config.max_length > limit:
        problems.append(
            f"max_length={config.max_length} is over the {limit} positions of the base model; "
            f"set max_length={limit} or less"
        )
    if rows.skipped:
        log.warning(
            "skipped %d of %d rows because they are longer than %d tokens; answers are never cut",
            len(rows.skipped),
            total,
            config.max_length,
        )
    if rows.contexts_truncated:
        log.info(
            "shortened the context of %d of %d rows at the end of a sentence to fit %d tokens",
            rows.contexts_truncated,
            total,
            config.max_length,
        )
    if not rows.rows:
        problems.append(f"{path}: all {total} rows are over {config.max_length} tokens; raise max_length")
    return problems


def warn_about_short_run(config: TrainingConfig, n_rows: int) -> None:
    """Log a warning if the run ends before it has seen every training row once."""
    epochs = config.num_train_epochs
    if config.max_steps is not None and n_rows:
        epochs = config.max_steps * config.batch_size / n_rows
    if epochs < 1:
        length = f"max_steps={config.max_steps}" if config.max_steps else f"num_train_epochs={config.num_train_epochs}"
        log.warning(
            "%s with batch_size=%d covers %.2f epochs of the %d training rows, so some rows are never used; "
            "set max_steps=null and num_train_epochs=1 or more to use all rows",
            length,
            config.batch_size,
            epochs,
            n_rows,
        )


def memory_problems(plan: MemoryPlan, device: Device, advice: Callable[[], str | None]) -> list[str]:
    """Return a message if the estimate exceeds the free memory. If the estimate is just below it, log a warning.

    `advice` returns settings that would fit, or None if there are none.
    """
    log.info("%s: %.1f GiB free; %s", device.name, device.free_gib, plan)
    if plan.estimate_gib > device.free_gib:
        return [
            f"{device.name} has {device.free_gib:.1f} GiB free, but this layout needs about {plan.estimate_gib:.1f} "
            f"GiB ({plan}); stop other processes on this device (see `nvidia-smi`), {_remedy(advice())}"
        ]
    if plan.estimate_gib > USABLE_SHARE * device.free_gib:
        log.warning("the estimated peak is close to the free memory; micro-batches are split if memory runs out")
    return []


def _remedy(settings: str | None) -> str:
    return f"set {settings}, or use a larger GPU" if settings else "or use a larger GPU: even short rows do not fit"


def disk_problems(config: TrainingConfig, shape: ModelShape, out: Path) -> list[str]:
    """Return a message if the disk that holds `out` has too little space for the checkpoints and the adapter."""
    needed, free = required_disk_bytes(config, shape), shutil.disk_usage(out).free
    if free >= needed:
        return []
    return [
        f"{out}: {free / GIB:.2f} GiB free on this disk, but checkpoints and adapter need {needed / GIB:.2f} GiB; "
        "free some space, or choose another --out"
    ]


def required_disk_bytes(config: TrainingConfig, shape: ModelShape) -> int:
    """Return the disk space in bytes that the checkpoints, the adapter and the tokenizers need.

    There are up to three checkpoints: two are kept while a third one is written. A checkpoint holds the adapter and
    the optimizer's two moments. Each moment is as large as the adapter.
    """
    adapter = 4 * adapter_parameters(config.lora, shape)  # 4 bytes per parameter, because fp32 is the largest dtype
    return 3 * 3 * adapter + adapter + 40 * 2**20
