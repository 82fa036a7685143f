"""Fingerprints of a training run and of its recipe.

An earlier run with the same training fingerprint is reused or resumed. Runs with the same recipe fingerprint differ
only in the seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.config import TrainingConfig
from insurance_rag.core.hashing import model_identity, sha256_file, sha256_text

#: Settings that affect where and how fast training runs, but not what the adapter learns. The paths `init_adapter` and
#: `replay.file` are among them because the fingerprint contains the contents of these files.
_EXECUTION_SETTINGS: dict[str, bool | set[str]] = {
    "memory_preset": True,
    "gpus": True,
    "report_to": True,
    "logging_steps": True,
    "save_steps": True,
    "torch_compile": True,
    "offload_activations": True,
    "host_embeddings": True,
    "init_adapter": True,
    "replay": {"file"},
}


def training_fingerprint(
    config: TrainingConfig, files: Sequence[Path | None], base_model: str, revision: str | None
) -> str:
    """Return 16 hexadecimal digits that identify the settings, the content of the data files, and the base model.

    `files` holds the file of training rows, the file of held-out rows (None if there is no such file), the general
    dataset, if there is one, and the weights of the adapter to start with, if there is one.
    """
    return _hash(config, _EXECUTION_SETTINGS, files, model_identity(base_model), revision)


def recipe_fingerprint(
    config: TrainingConfig,
    files: Sequence[Path | None],
    base_model: str,
    revision: str | None,
    init_recipe: str | None = None,
) -> str:
    """Return 16 hexadecimal digits that identify the settings without the seed, the data files, and the base model.

    The parameters are those of `training_fingerprint`, but `files` does not hold the weights of the adapter to start
    with, because every seed may start with an adapter of the same seed. `init_recipe` is the fingerprint of that
    adapter's recipe. A local base model is identified by its path only, because its files may have different times on
    the machines that train the seeds.
    """
    name = f"{base_model} {init_recipe}" if init_recipe else base_model
    return _hash(config, {**_EXECUTION_SETTINGS, "seed": True}, files, name, revision)


def _hash(
    config: TrainingConfig,
    exclude: Mapping[str, bool | set[str]],
    files: Sequence[Path | None],
    base_model: str,
    revision: str | None,
) -> str:
    digests = [sha256_file(path) if path else "" for path in files]
    settings = config.model_dump(mode="json", exclude=dict(exclude))
    return sha256_text(json.dumps(settings, sort_keys=True), *digests, base_model, revision or "")[:16]
