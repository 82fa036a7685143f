"""Train one QLoRA adapter: check the inputs, train or resume, and write the adapter and then its manifest."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.config import TrainingConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifact_store.locations import public_text, public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InterruptedRunError, InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.progress import Progress, is_main_process
from insurance_rag.core.records import AdapterArtifact, LossRow, TrainingDataset, TrainingManifest
from insurance_rag.models.devices import peak_memory_gib
from insurance_rag.training.model_card import adapter_card
from insurance_rag.training.preflight import PreparedTraining, prepare_training

if TYPE_CHECKING:
    from insurance_rag.training.base_trainer import BaseAdapterTrainer
    from insurance_rag.training.callbacks import TrainingMonitor

log = logging.getLogger(__name__)

LOCK_WAIT_S = 60.0
"""Seconds that a retry waits for an interrupted run to save its checkpoint and release the lock."""


def train_adapter(
    recipe: TrainingConfig,
    dataset: Path,
    base_model: str,
    out: Path,
    heldout: Path | None = None,
    progress_folder: Path | None = None,
    recipe_name: str | None = None,
) -> AdapterArtifact:
    """Train an adapter for `base_model` on `dataset` (a dataset folder or a file of rows), and write it to `out`.

    If `out` already holds this adapter, training is skipped. An interrupted run resumes from its last checkpoint.
    `heldout` is a file of held-out rows; by default, the one in the dataset folder is used. `recipe_name` is recorded
    with the adapter; by default, it is the version.

    Before the model is loaded, the inputs are checked. If a check fails, the function raises an InvalidInputError that
    lists all problems. Raises IncompleteError if another process is training into `out`. Raises GpuMemoryError if the
    GPU is too small for a single row. After SIGTERM or SIGINT, saves a checkpoint and raises InterruptedRunError.
    """
    training = prepare_training(recipe, dataset, base_model, out, heldout)
    lock = hold_lock(out.with_name(f".{out.name}.lock"), str(out), LOCK_WAIT_S)
    with lock if is_main_process() else contextlib.nullcontext():
        return _train_or_reuse(training, recipe_name or recipe.version, AdapterFolder(out), progress_folder)


def _train_or_reuse(
    training: PreparedTraining, recipe_name: str, folder: AdapterFolder, progress_folder: Path | None
) -> AdapterArtifact:
    manifest = _read_finished(folder)
    if manifest is not None and manifest.fingerprint == training.fingerprint:
        log.info("%s already contains this adapter", folder.root)
        return _artifact(folder, manifest)
    return _artifact(folder, _train(training, recipe_name, folder, progress_folder))


def _read_finished(folder: AdapterFolder) -> TrainingManifest | None:
    """Return the manifest of a finished adapter. Returns None if the manifest is missing or unreadable."""
    try:
        return folder.read_manifest()
    except InvalidInputError as e:
        log.warning("%s", e)
        return None


@dataclass(frozen=True)
class _Outcome:
    """The results of a training run that was not interrupted."""

    trainer: BaseAdapterTrainer
    loss: float
    heldout: LossRow | None
    """Metrics on the held-out rows at the end; None if there are no held-out rows."""
    tokens_per_s: int
    peak_gib: float
    seconds: float


def _train(
    training: PreparedTraining, recipe_name: str, folder: AdapterFolder, progress_folder: Path | None
) -> TrainingManifest:
    import torch

    from insurance_rag.training.callbacks import TrainingMonitor
    from insurance_rag.training.signals import stop_on_signals

    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.logs)  # transformers has no argument for this path
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    progress = Progress(
        "train",
        f"{recipe_name} · {folder.root.name}",
        total=training.config.max_steps or 1,
        unit="steps",
        folder=progress_folder if is_main_process() else None,
    )
    with stop_on_signals() as stop, progress:
        outcome = _run_trainer(training, folder, TrainingMonitor(progress, folder.loss_history, stop))
    log.info("peak memory %.2f GiB, estimated %.2f GiB", outcome.peak_gib, training.plan.estimate_gib)
    return _save(outcome, _manifest(outcome, training, recipe_name), training, folder)


def _run_trainer(training: PreparedTraining, folder: AdapterFolder, monitor: TrainingMonitor) -> _Outcome:
    """Train to the end, from the last checkpoint if there is one. Raises InterruptedRunError on SIGTERM or SIGINT."""
    from insurance_rag.training.callbacks import latest_checkpoint
    from insurance_rag.training.trainable_model import load_trainable_model
    from insurance_rag.training.trainer import build_trainer

    started = time.monotonic()
    config, plan, heldout = training.config, training.plan, training.heldout.rows
    work = folder.checkpoints / training.fingerprint
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = latest_checkpoint(work)
    model = load_trainable_model(training.base_model, config, plan, training.revision)
    trainer = build_trainer(model, training.tokenizer, training.rows.rows, heldout, config, plan, work, [monitor])
    if checkpoint:
        log.info("resuming from %s", checkpoint)
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if monitor.stop.is_set() and trainer.state.global_step < trainer.state.max_steps:
        raise InterruptedRunError(
            f"interrupted at step {trainer.state.global_step} of {trainer.state.max_steps}; "
            "run the same command to resume from this step"
        )
    return _Outcome(
        trainer=trainer,
        loss=round(result.training_loss, 4),
        heldout=_evaluate(trainer) if heldout else None,
        tokens_per_s=monitor.tokens_per_s,
        peak_gib=peak_memory_gib(),
        seconds=round(time.monotonic() - started, 1),
    )


def _evaluate(trainer: BaseAdapterTrainer) -> LossRow:
    """Return the metrics on the held-out rows."""
    from insurance_rag.training.callbacks import loss_history

    trainer.evaluate()
    return loss_history(trainer.state.log_history[-1:])[0]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _save(
    outcome: _Outcome, manifest: TrainingManifest, training: PreparedTraining, folder: AdapterFolder
) -> TrainingManifest:
    """Write the adapter to a staging folder, then move its files to the adapter folder, replacing existing files.

    The manifest is written after all other files. The checkpoints are then removed.
    """
    trainer = outcome.trainer
    adapter_config = trainer.model.peft_config["default"]
    adapter_config.revision = training.revision
    adapter_config.base_model_name_or_path = public_text(adapter_config.base_model_name_or_path or training.base_model)
    trainer.save_model(str(folder.staging))  # a collective operation under FSDP, so every process must call it
    if is_main_process():
        training.tokenizer.save_pretrained(folder.staging)
        card = folder.staging / folder.model_card.name
        card.write_text(adapter_card(manifest), encoding="utf-8")
        folder.manifest.unlink(missing_ok=True)
        for path in sorted(folder.staging.iterdir()):
            if path.name != "training_args.bin":  # skip this pickle: the manifest contains the same settings
                os.replace(path, folder.root / path.name)
        shutil.rmtree(folder.staging)
        write_json(folder.manifest, manifest.model_dump(mode="json"))
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
    # Every process hashes the folder, so every process waits until the folder is complete. The wait also prevents a
    # hang: if a process exited early, the main process would wait forever for its share of the FSDP weights.
    trainer.accelerator.wait_for_everyone()
    return manifest


def _manifest(outcome: _Outcome, training: PreparedTraining, recipe_name: str) -> TrainingManifest:
    config, rows, heldout = training.config, training.rows, outcome.heldout or LossRow(step=0)
    held_out = training.held_out
    dataset = TrainingDataset(
        uri=public_uri(training.dataset),
        sha256=sha256_file(training.dataset),
        rows=len(rows.rows) - (training.replay.rows if training.replay else 0),
        heldout_documents=held_out.documents if held_out else None,
        heldout_sections=held_out.sections if held_out else [],
        heldout_chunks=held_out.chunks if held_out else [],
    )
    return TrainingManifest(
        version=config.version,
        recipe=recipe_name,
        seed=config.seed,
        prompt_format=config.prompt_format,
        base_model=public_text(training.base_model),
        base_revision=training.revision,
        quantization=config.quantization,
        dataset=dataset,
        replay=training.replay,
        heldout_rows=len(training.heldout.rows),
        contexts_truncated=rows.contexts_truncated,
        rows_skipped=rows.skipped,
        steps=outcome.trainer.state.global_step,
        epochs=round(outcome.trainer.state.epoch or 0.0, 4),
        loss=outcome.loss,
        eval_loss=_round(heldout.eval_loss),
        eval_rewards_accuracy=_round(heldout.eval_rewards_accuracy),
        eval_rewards_margin=_round(heldout.eval_rewards_margin),
        tokens_per_s=outcome.tokens_per_s,
        peak_gib=outcome.peak_gib,
        estimate_gib=training.plan.estimate_gib,
        micro_batch_pieces=outcome.trainer.n_pieces,
        seconds=outcome.seconds,
        device=training.device.name,
        plan=training.plan,
        settings=config.model_dump(mode="json"),
        fingerprint=training.fingerprint,
        recipe_fingerprint=training.recipe_fingerprint,
    )


def _artifact(folder: AdapterFolder, manifest: TrainingManifest) -> AdapterArtifact:
    facts = manifest.model_dump(include=set(AdapterArtifact.model_fields) & set(TrainingManifest.model_fields))
    return describe(folder.root, AdapterArtifact, rows=manifest.dataset.rows, **facts)
