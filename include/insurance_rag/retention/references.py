"""Finds the runs that must be kept, by following the paths in manifests, summaries, decisions and settings.

A run is kept if its path occurs in a file of the folder `published`, in the registry, or in a file of another run that
is kept for this reason. The paths of parents, datasets, adapters and evaluations in these files are all followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.journal import Journal

FILES_OF_RUN = (
    "config.json",
    "*.manifest.json",
    "*/*.manifest.json",
    "adapters/*/training.json",
    "adapters/*/*/training.json",
    "evaluation/*.json",
    "questions/*.json",
)
"""Files of a run that name artifacts of other runs."""
FILES_OF_REGISTRY = ("champion.json", "decisions.jsonl", "adapters/*/training.json")
PUBLISHED_NAMES = ("qa_dataset.json", "questions.json", "chunks.json", "adapters.json", "decision.json")


def used_runs(runs: Iterable[Path], published: Path, registries: Iterable[Path]) -> dict[Path, Path]:
    """Return the runs that something in use rests on, each with the file that names it.

    Raises InvalidInputError if one of these files cannot be read, because it may name any run.
    """
    known = {run.resolve(): run for run in runs}
    files = [*published.glob("*.json")]
    files += [path for root in registries for pattern in FILES_OF_REGISTRY for path in root.glob(pattern)]
    used: dict[Path, Path] = {}
    while files:
        file = files.pop()
        for path in _paths_in(_content(file)):
            run = next((known[folder] for folder in (path, *path.parents) if folder in known), None)
            if run is not None and run not in used and not file.is_relative_to(run):
                used[run] = file
                files += [found for pattern in FILES_OF_RUN for found in run.glob(pattern)]
    return used


def named_registries(runs: Iterable[Path]) -> set[Path]:
    """Return the registries that the settings of the runs name."""
    configs = (_content(run / "config.json") for run in runs if (run / "config.json").is_file())
    names = (config.get("registry") for config in configs if isinstance(config, dict))
    return {local_path(name).resolve() for name in names if isinstance(name, str) and name}


def _content(file: Path) -> JsonValue:
    if file.suffix == ".jsonl":
        return [*Journal(file).read_new()]
    try:
        content: JsonValue = json.loads(file.read_bytes())
        return content
    except (OSError, ValueError) as e:
        raise InvalidInputError(
            f"{file}: cannot be read ({type(e).__name__}), so it is not known which runs it rests on; restore it, or "
            "remove it, then prune again"
        ) from None


def _paths_in(value: JsonValue) -> Iterator[Path]:
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _paths_in(item)
    elif isinstance(value, str) and ("/" in value) and "\n" not in value and len(value) < 4096:
        try:
            path = local_path(value)
        except InvalidInputError:
            return
        if path.is_absolute():
            yield path.resolve()
