"""Which adapters a run trains and evaluates: one per version and seed, with its folder, settings and name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from insurance_rag.config import RunConfig
from insurance_rag.core.adapter_folder import expand_seeds, seed_folder, seed_name
from insurance_rag.core.records import AdapterArtifact
from insurance_rag.core.records.run import TrainingJob
from insurance_rag.core.run_folder import RunFolder


def adapter_jobs(folder: RunFolder, config: RunConfig, dataset: str, base_model: str) -> Iterator[TrainingJob]:
    """Yield one training job per version and seed. `dataset` is a folder, `base_model` a Hugging Face name or folder.

    With one seed per version, the recipe's own seed is used, and the adapter is written to the folder of its version.
    """
    settings = [f"profile={config.profile}", *(f"{key}={json.dumps(value)}" for key, value in config.training.items())]
    for version in config.versions:
        uri = folder.adapter(version, config.base_model)
        job = TrainingJob(uri=str(uri), recipe=version, dataset=dataset, base_model=base_model, settings=settings)
        if config.seeds == 1:
            yield job
            continue
        for seed in _seeds(config, version):
            own = {"uri": str(seed_folder(uri, seed)), "settings": [*settings, f"seed={seed}"]}
            yield job.model_copy(update=own)


def named_adapters(config: RunConfig, trained: Sequence[AdapterArtifact]) -> dict[str, str]:
    """Map adapter names to folders. If the configuration names no adapters, use the trained ones.

    With several seeds per version, an adapter is named after its version and seed, e.g. `v2-s42`.
    """
    if config.adapters:
        named = expand_seeds({name: Path(folder) for name, folder in config.adapters.items()})
        return {name: str(folder) for name, folder in named.items()}
    ordered = sorted(trained, key=lambda a: (a.version, a.seed))
    return {a.version if config.seeds == 1 else seed_name(a.version, a.seed): a.uri for a in ordered}


def _seeds(config: RunConfig, version: str) -> range:
    """Return the seeds of a version: the recipe's own seed and the next ones."""
    from insurance_rag.training import load_recipe

    first = load_recipe(version, {"profile": config.profile, **config.training}).seed
    return range(first, first + config.seeds)
