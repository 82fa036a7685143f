"""Run tasks of lm-evaluation-harness for the base model and its adapters. The package is optional."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.general_text import GeneralTasks

if TYPE_CHECKING:
    from insurance_rag.evaluation.backends.local.backend import LocalBackend

PACKAGE = "lm_eval"
BATCH_SIZE = 8
FILE = "general_tasks.json"


def package_problems(tasks: Sequence[str]) -> list[str]:
    """Return a message if there are tasks, but lm-evaluation-harness is not installed."""
    if not tasks or find_spec(PACKAGE):
        return []
    return [
        f"general_tasks={','.join(tasks)} needs the package lm_eval; run `pip install 'lm_eval[hf]'`, or set "
        "general_tasks=[]"
    ]


def run_general_tasks(backend: LocalBackend, tasks: Sequence[str], out: Path) -> GeneralTasks:
    """Return the scores of all models of the backend in the tasks, and write them to general_tasks.json.

    If the file in the folder `out` already contains these scores, no model is loaded. Raises InvalidInputError if a
    task is unknown or its data cannot be loaded.
    """
    installed = version(PACKAGE)
    key = sha256_text(installed, *tasks, *(f"{name} {of}" for name, of in backend.identities.items()))
    if (stored := _read_stored(out / FILE)) and stored.key == key:
        return stored
    scores = {name: _scores(backend, name, tasks) for name in backend.identities}
    result = GeneralTasks(key=key, version=installed, scores=scores)
    write_json(out / FILE, result.model_dump(mode="json"))
    return result


def _read_stored(path: Path) -> GeneralTasks | None:
    """Return the stored scores, or None if there are none that can be read."""
    try:
        return read_record(path, GeneralTasks, "scores of general tasks", "run evaluate again")
    except InvalidInputError:
        return None


def _scores(backend: LocalBackend, model: str, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return task -> metric -> score of one model."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    backend.load()
    backend.select([model])
    try:
        wrapped = HFLM(pretrained=backend.model, tokenizer=backend.tokenizer, batch_size=BATCH_SIZE)
        found = simple_evaluate(model=wrapped, tasks=list(tasks))
    except (KeyError, ValueError, OSError) as e:
        raise InvalidInputError(
            f"general_tasks={','.join(tasks)}: lm_eval cannot run them ({e}); check the names with `lm_eval ls tasks` "
            "and the network"
        ) from e
    return {
        str(task): {str(name): float(x) for name, x in metrics.items() if isinstance(x, int | float) and isfinite(x)}
        for task, metrics in found["results"].items()
    }
