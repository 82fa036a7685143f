"""Read training results and loss curves from the adapter folders of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insurance_rag.core.adapter_folder import seed_folders, seed_name
from insurance_rag.core.records import LossRow, TrainingManifest
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.formatting import plain_facts
from insurance_rag.report.reader import Reader
from insurance_rag.report.view import AdapterTraining

#: Fields of training.json that are shown below the loss curve.
FACTS = ("steps", "heldout_rows", "tokens_per_s", "peak_gib", "seconds", "device")


def read_training(reader: Reader, run: RunFolder) -> list[AdapterTraining] | None:
    """Return one entry per adapter folder, or None if there is none.

    While an adapter is being trained, its folder has a loss history but no training.json, which is written last.
    """
    folders = sorted(path for path in run.adapters.glob("*") if path.is_dir())
    found = [
        _read_adapter(reader, adapter, of_seeds=bool(seeds))
        for folder in folders
        for seeds in [seed_folders(folder)]
        for adapter in seeds or [folder]
    ]
    return found or None


def _read_adapter(reader: Reader, folder: Path, *, of_seeds: bool) -> AdapterTraining:
    """Return the entry for an adapter folder. `of_seeds` is true if it is one of several seeds of a recipe."""
    manifest = reader.record(folder / "training.json", TrainingManifest)
    history = list(reader.records(folder / "loss_history.jsonl", LossRow))
    return AdapterTraining(
        name=_name(manifest, folder, of_seeds=of_seeds),
        facts=_facts(manifest) if manifest else {},
        loss=_points(history, "loss"),
        eval_loss=_points(history, "eval_loss"),
        margin=_points(history, "rewards_margin"),
        eval_margin=_points(history, "eval_rewards_margin"),
        accuracy=_points(history, "rewards_accuracy"),
        eval_accuracy=_points(history, "eval_rewards_accuracy"),
    )


def _points(history: Sequence[LossRow], metric: str) -> list[tuple[float, float]]:
    """Return the steps at which a metric was logged, with its values."""
    values = ((row.step, getattr(row, metric)) for row in history)
    return [(step, value) for step, value in values if value is not None]


def _name(manifest: TrainingManifest | None, folder: Path, *, of_seeds: bool) -> str:
    """Return the name under which the adapter is evaluated, or its folder's name while it is being trained."""
    if manifest is None:
        return f"{folder.parent.name} {folder.name}" if of_seeds else folder.name
    return seed_name(manifest.recipe, manifest.seed) if of_seeds else manifest.version


def _facts(manifest: TrainingManifest) -> dict[str, str]:
    figures = {name: getattr(manifest, name) for name in FACTS}
    return plain_facts({"rows": manifest.dataset.rows, **figures, "base_model": Path(manifest.base_model).name})
