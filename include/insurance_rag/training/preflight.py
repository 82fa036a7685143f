"""Everything that can be known to fail before the model is loaded, all of it at once."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.training.data import (
    Rows,
    as_version,
    dataset_file,
    encode_rows,
    fingerprint,
    heldout_file,
    read_heldout,
    read_rows,
)
from insurance_rag.training.memory import GIB, HEADROOM, Device, Plan, Shape, make_plan, shape_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A training that can start."""

    config: TrainingConfig
    plan: Plan
    device: Device
    tokenizer: Any
    rows: Rows
    heldout: Rows
    dataset: Path
    base_model: str
    revision: str | None
    """Commit of the base model; None for a local folder."""
    fingerprint: str


def prepare(config: TrainingConfig, dataset: Path, base_model: str, out: Path, heldout: Path | None = None) -> Job:
    """Read, encode and plan; InvalidInputError lists every problem of data, base model, device, disk and settings together."""
    from insurance_rag.training.model import find_device, load_tokenizer

    problems: list[str] = []

    def attempt(check: Any, *args: Any) -> Any:
        try:
            return check(*args)
        except InvalidInputError as e:
            problems.extend(e.problems)
            return None

    path = dataset_file(dataset, config.version)
    held = heldout or heldout_file(dataset)
    rows = attempt(read_rows, path)
    held_rows = (attempt(read_heldout, held) if held else None) or []
    model_config = attempt(_base_config, base_model, config.base_revision)
    revision = getattr(model_config, "_commit_hash", None)
    tokenizer = attempt(load_tokenizer, base_model, revision) if model_config else None
    device = find_device()
    problems += _device_problems(config, device) + _package_problems(config)
    if config.early_stopping and not (held_rows and config.eval_every):
        problems.append("early_stopping needs held-out rows and eval_every: validate with --questions, or leave it out")
    attempt(_writable, out)
    encoded = held_encoded = Rows()
    if rows and tokenizer:
        encoded = encode_rows(rows, tokenizer, config)
        held_encoded = encode_rows(
            [as_version(r, config.version) for r in held_rows[: config.eval_rows]], tokenizer, config
        )
        problems += _row_problems(encoded, len(rows), config, model_config, path)
    if problems:
        raise InvalidInputError(problems)
    shape = shape_of(model_config, config.lora.target_modules)
    plan = make_plan(config, shape, encoded.lengths, device)
    if problems := [*_memory_problems(plan, device), *_disk_problems(config, shape, out)]:
        raise InvalidInputError(problems)
    return Job(
        config, plan, device, tokenizer, encoded, held_encoded, path, base_model, revision,
        fingerprint(config, [path, held], base_model, revision),
    )  # fmt: skip


def _base_config(base_model: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    if Path(base_model).is_dir() and not (Path(base_model) / "config.json").is_file():
        raise InvalidInputError(
            f"--base-model {base_model}: the folder holds no config.json; give a model folder or a Hugging Face name"
        )
    try:
        return AutoConfig.from_pretrained(base_model, revision=revision)
    except (OSError, ValueError) as e:
        gated = "gated" in str(e) or "401" in str(e) or "403" in str(e)
        way_out = (
            f"accept its licence at https://huggingface.co/{base_model} and log in with `hf auth login`"
            if gated
            else "check the name and the network, or give a local folder"
        )
        raise InvalidInputError(
            f"--base-model {base_model}: cannot be loaded; {way_out} ({str(e).splitlines()[0]})"
        ) from e


def _device_problems(config: TrainingConfig, device: Device) -> list[str]:
    problems = []
    if device.kind == "cuda" and device.capability < (8, 0) and config.compute != "fp32":
        version = ".".join(map(str, device.capability))
        problems.append(
            f"{device.name} has compute capability {version}; bf16 wants 8.0 (Ampere): use another GPU or compute=fp32"
        )
    if device.kind == "cpu" and config.memory != "auto":
        problems.append(
            f"memory={config.memory} but no CUDA device is visible; "
            "check `nvidia-smi` and that torch is a CUDA build, or leave memory=auto"
        )
    if device.kind == "cpu" and config.fsdp:
        problems.append("fsdp needs CUDA devices; on a CPU it would silently be plain data parallelism")
    if config.gpus not in (1, device.count):
        problems.append(
            f"gpus={config.gpus}, but {device.count} processes train; the command `train` starts one a GPU, "
            f"and torchrun with --nproc-per-node {config.gpus}"
        )
    if device.count > 1 and config.batch_size % device.count:
        problems.append(
            f"batch_size {config.batch_size} cannot be shared by {device.count} processes; make it a multiple"
        )
    return problems


def _package_problems(config: TrainingConfig) -> list[str]:
    wanted: dict[str, str] = {name: f"report_to {name}" for name in config.report_to}
    if config.liger is True:
        wanted["liger_kernel"] = "liger"
    hint = {"liger_kernel": "liger-kernel"}
    return [
        f"{setting} needs the package {name}: pip install {hint.get(name, name)}, or leave it out"
        for name, setting in wanted.items()
        if find_spec(name) is None
    ]


def _writable(out: Path) -> None:
    from insurance_rag.core.run_folder import RunFolder

    RunFolder(out).create()


def _row_problems(rows: Rows, total: int, config: TrainingConfig, model_config: Any, path: Path) -> list[str]:
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    problems = []
    if limit and config.max_length > limit:
        problems.append(
            f"max_length {config.max_length} is over the base model's {limit} positions; set max_length={limit} or less"
        )
    if rows.left_out:
        log.warning(
            "%d of %d rows are over %d tokens and left out whole; no answer is cut",
            len(rows.left_out),
            total,
            config.max_length,
        )
    if rows.context_cut:
        log.info(
            "%d of %d rows had their clause cut at a sentence to fit %d tokens",
            rows.context_cut,
            total,
            config.max_length,
        )
    if not rows.encoded:
        problems.append(f"{path}: all {total} rows are over {config.max_length} tokens; raise max_length")
    return problems


def _memory_problems(plan: Plan, device: Device) -> list[str]:
    log.info("%s: %.1f GiB free; %s", device.name, device.free_gib, plan)
    if plan.estimate_gib <= device.free_gib:
        if plan.estimate_gib > HEADROOM * device.free_gib:
            log.warning("that is close to all that is free; the micro-batch will be halved if it does not fit")
        return []
    return [
        f"{device.name} has {device.free_gib:.1f} GiB free, and this layout wants about {plan.estimate_gib:.1f} GiB: "
        "free the memory, use a smaller preset (memory=8GB), a shorter max_length or a larger card"
    ]


def _disk_problems(config: TrainingConfig, shape: Shape, out: Path) -> list[str]:
    needed, free = disk_bytes(config, shape), shutil.disk_usage(out).free
    if free >= needed:
        return []
    return [
        f"{out}: {free / GIB:.2f} GiB free on this disk, checkpoints and adapter want {needed / GIB:.2f} GiB; "
        "free some or choose another --out"
    ]


def disk_bytes(config: TrainingConfig, shape: Shape) -> int:
    """Three checkpoints (two kept, one being written), each adapter and two moments, the adapter, and tokenizers."""
    adapter = 4 * config.lora.r * shape.adapted  # fp32 at most
    return 3 * 3 * adapter + adapter + 40 * 2**20
