"""Train several adapters of one recipe that differ only in the seed."""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path

from insurance_rag.config import TrainingConfig
from insurance_rag.core.adapter_folder import AdapterFolder, seed_folder, seed_folders
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import AdapterArtifact
from insurance_rag.training.train import train_adapter

log = logging.getLogger(__name__)


def train_seeds(
    recipe: TrainingConfig,
    seeds: int,
    dataset: Path,
    base_model: str,
    out: Path,
    heldout: Path | None = None,
    progress_folder: Path | None = None,
    recipe_name: str | None = None,
) -> list[AdapterArtifact]:
    """Train `seeds` adapters, one after the other, with the seeds `recipe.seed`, `recipe.seed` + 1 and so on.

    One adapter is written to `out` itself; several are written to `out`/seed-N, where N is the seed. A repeated call
    reuses finished adapters and resumes the interrupted one. The other parameters and the errors are those of
    `train_adapter`. Also raises InvalidInputError if `out` already holds adapters in the other layout, or if `seeds` is
    less than 1.
    """
    check_seeds(seeds, out)
    if seeds == 1:
        return [train_adapter(recipe, dataset, base_model, out, heldout, progress_folder, recipe_name)]
    trained = []
    for number, seed in enumerate(range(recipe.seed, recipe.seed + seeds), 1):
        log.info("seed %d (%d of %d)", seed, number, seeds)
        config, folder = recipe.model_copy(update={"seed": seed}), seed_folder(out, seed)
        trained.append(train_adapter(config, dataset, base_model, folder, heldout, progress_folder, recipe_name))
        _free_memory()
    return trained


def check_seeds(seeds: int, out: Path) -> None:
    """Raise InvalidInputError if `seeds` is less than 1, or if `out` holds adapters in the layout for another number.

    An adapter folder must not contain other adapters, because its hash covers all files below it.
    """
    if seeds < 1:
        raise InvalidInputError(f"--seeds {seeds}: too small; give at least 1")
    folder, existing = AdapterFolder(out), [path.name for path in seed_folders(out)]
    if seeds == 1 and existing:
        raise InvalidInputError(
            f"{out}: holds adapters of several seeds ({', '.join(existing)}); choose another --out, or pass --seeds"
        )
    if seeds > 1 and any(path.exists() for path in (folder.manifest, folder.weights, folder.checkpoints)):
        raise InvalidInputError(f"{out}: holds a single adapter; choose another --out for {seeds} seeds")


def _free_memory() -> None:
    """Free the model of the last seed. The trainer and its callbacks refer to each other, so only `gc` finds them."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
