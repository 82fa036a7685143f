"""Train one QLoRA adapter: prepare, train (resuming what was begun), write the adapter with its manifest last."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from insurance_rag.config import TrainingConfig
from insurance_rag.core.artifacts import artifact
from insurance_rag.core.errors import InterruptedRunError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.locks import held
from insurance_rag.core.progress import Progress, is_main_process
from insurance_rag.training.data import heldout_documents
from insurance_rag.training.preflight import Job, prepare

log = logging.getLogger(__name__)

MANIFEST = "training.json"
HISTORY = "loss_history.jsonl"
OTHERS_CHECKPOINT_S = 60.0
"""A training that was told to stop still writes its checkpoint when the next try of a task comes."""


def train_adapter(
    recipe: TrainingConfig,
    dataset: Path,
    base_model: str,
    out: Path,
    heldout: Path | None = None,
    progress_folder: Path | None = None,
) -> dict[str, Any]:
    """Train an adapter of `base_model` on `dataset` (a file, or a dataset folder with the recipe's file) into `out`.

    The same call again returns the finished adapter, or goes on from the last checkpoint. `heldout` defaults to the
    heldout.json beside the dataset.

    Returns `{uri, sha256, steps, loss, eval_loss, tokens_per_s, peak_gib, seconds, ...}`. Raises InvalidInputError with every
    problem found before the model is loaded, IncompleteError where another process trains into `out`, InterruptedRunError when a
    signal stopped it and a checkpoint is saved, and GpuMemoryError when not even one row at a time fits.
    """
    job = prepare(recipe, dataset, base_model, out, heldout)
    alone = held(out.with_name(f".{out.name}.lock"), str(out), OTHERS_CHECKPOINT_S)
    with alone if is_main_process() else contextlib.nullcontext():
        return _train(job, out, progress_folder)


def _train(job: Job, out: Path, progress_folder: Path | None) -> dict[str, Any]:
    if (done := _finished(out, job)) is not None:
        log.info("%s holds this very adapter already", out)
        return _result(out, done)
    work = out / "checkpoints" / job.fingerprint
    figures = _run(job, work, out, progress_folder)
    if is_main_process():
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return _result(out, figures)


def _run(job: Job, work: Path, out: Path, progress_folder: Path | None) -> dict[str, Any]:
    import torch

    from insurance_rag.training.callbacks import Watch, latest_checkpoint, peak_gib, stop_on_signals
    from insurance_rag.training.model import load_base
    from insurance_rag.training.trainer import build_trainer

    started = time.monotonic()
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "logs")  # transformers takes it from nowhere else
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = latest_checkpoint(work)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    label = f"{job.config.version} · {out.name}"
    with (
        stop_on_signals() as stop,
        Progress(
            "train",
            label,
            total=job.config.max_steps or 1,
            unit="steps",
            folder=progress_folder if is_main_process() else None,
        ) as progress,
    ):
        watch = Watch(progress, out / HISTORY, stop)
        base = load_base(job.base_model, job.config, job.plan, job.revision)
        trainer = build_trainer(
            base, job.tokenizer, job.rows.encoded, job.heldout.encoded, job.config, job.plan, work, [watch]
        )
        if checkpoint:
            log.info("going on from %s", checkpoint)
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if stop.is_set() and trainer.state.global_step < trainer.state.max_steps:
            at = f"step {trainer.state.global_step} of {trainer.state.max_steps}"
            raise InterruptedRunError(f"stopped at {at}; the same command goes on from there")
        eval_loss = trainer.evaluate()["eval_loss"] if job.heldout.encoded else None
    figures = {
        "steps": trainer.state.global_step,
        "loss": round(output.training_loss, 4),
        "eval_loss": eval_loss and round(eval_loss, 4),
        "tokens_per_s": watch.tokens_per_s,
        "peak_gib": peak_gib(),
        "estimate_gib": job.plan.estimate_gib,
        "micro_batch_pieces": trainer.pieces,
        "seconds": round(time.monotonic() - started, 1),
    }
    log.info("peak memory %.2f GiB, estimated %.2f GiB", figures["peak_gib"], job.plan.estimate_gib)
    return _save(trainer, job, out, figures)


def _save(trainer: Any, job: Job, out: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """Write the adapter beside `out` first; each file then replaces its old one, the manifest last."""
    manifest = {
        **figures,
        "fingerprint": job.fingerprint,
        "version": job.config.version,
        "base_model": job.base_model,
        "base_revision": job.revision,
        "dataset": {
            "uri": str(job.dataset.resolve()),
            "sha256": sha256_file(job.dataset),
            "rows": len(job.rows.encoded),
            "heldout_documents": heldout_documents(job.dataset.parent),
        },
        "rows_context_cut": job.rows.context_cut,
        "rows_left_out": job.rows.left_out,
        "heldout_rows": len(job.heldout.encoded),
        "device": job.device.name,
        "plan": job.plan.__dict__,
        "settings": job.config.model_dump(mode="json"),
    }
    trainer.model.peft_config["default"].revision = job.revision
    staging = out / ".staging"
    trainer.save_model(str(staging))  # collective under FSDP: every process calls it
    if is_main_process():
        job.tokenizer.save_pretrained(staging)
        write_card(staging, manifest)
        (out / MANIFEST).unlink(missing_ok=True)
        for path in sorted(staging.iterdir()):
            if path.name != "training_args.bin":  # a pickle, and all that is in it is in the manifest
                os.replace(path, out / path.name)
        shutil.rmtree(staging)
        write_json(out / MANIFEST, manifest)
    # A process that ended here would leave the first one waiting in FSDP's gather; and each hashes the folder.
    trainer.accelerator.wait_for_everyone()
    return manifest


def write_card(folder: Path, manifest: dict[str, Any]) -> None:
    """The adapter's model card: what it is, from what, and how well."""
    from insurance_rag.training.model_card import model_card

    (folder / "README.md").write_text(model_card(manifest), encoding="utf-8")


def _finished(out: Path, job: Job) -> dict[str, Any] | None:
    path = out / MANIFEST
    manifest = read_json(path) if path.is_file() else {}
    return manifest if manifest.get("fingerprint") == job.fingerprint else None


def _result(out: Path, figures: dict[str, Any]) -> dict[str, Any]:
    keys = ("version", "steps", "loss", "eval_loss", "tokens_per_s", "peak_gib", "seconds")
    return artifact(out, **{key: figures[key] for key in keys}, rows=figures["dataset"]["rows"])
