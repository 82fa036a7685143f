"""Which artifacts the tasks need from an object store, and where they are copied to and from.

With a local artifact root, and settings that name only local files, nothing here does anything. Otherwise, a task gets
local paths in place of URIs, its files are fetched before it starts, and what it changes is published when it ends.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from pydantic import BaseModel, JsonValue

from insurance_rag.core.artifact_store.locations import local_value, location_of, store_paths
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.runs import artifact_root, run_folder

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)

log = logging.getLogger(__name__)

CHECKPOINTS = ("adapters/*/checkpoints/**", "adapters/*/*/checkpoints/**")
"""Files of running trainings, which only the training itself needs."""
LATER_STAGES = ("dataset/**", "base_model/**", "adapters/**", "evaluation/**")
"""Folders of a run that generation does not need."""
EARLIER_RUNS = ("*/*/plan.json", "*/*/chunked_data.jsonl", "*/*/parts/journal/**")
"""Files of all runs that hold answers to reuse."""
SHARED = ("published/*", "reviews/*")
"""Files of the artifact root that all runs share."""
PUBLISHED = ("qa_dataset.json", "questions.json")
"""Files of the folder `published` whose artifacts tasks compare with those of their own run."""
WEIGHTS = ("base_model/**", "adapters/*/*.safetensors", "adapters/*/*/*.safetensors")
PAGE_INTERVAL_S = 2.0
"""A page looks for new files of a run at most this often."""
LIST_INTERVAL_S = 60.0
"""The same for a page that lists runs."""

_shown: dict[Path, float] = {}
_showing = threading.Lock()


def is_in_store() -> bool:
    """Return whether the artifact root is in an object store."""
    return location_of(artifact_root()) is not None


def with_artifacts(function: Callable[P, R], *, earlier_runs: bool = False) -> Callable[P, R]:
    """Wrap the function of a task, so that it works on the artifacts of its run, its arguments and its settings.

    With `earlier_runs`, it also gets the answers of earlier runs.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        from airflow.sdk import get_current_context

        dag_run = get_current_context()["dag_run"]
        with run_artifacts(run_folder(dag_run.dag_id, dag_run.run_id), earlier_runs=earlier_runs):
            return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def run_artifacts(
    run: RunFolder, *, without: Sequence[str] = CHECKPOINTS, earlier_runs: bool = False, named: bool = True
) -> Iterator[None]:
    """Fetch the artifacts of a run, and with `named` those that its settings name. Publish them at the end."""
    from insurance_rag.core.artifact_store.workspace import Workspace

    with contextlib.ExitStack() as stack:
        if is_in_store():
            from insurance_rag.core.artifact_store.mirror import Part

            patterns = (*SHARED, *(EARLIER_RUNS if earlier_runs else ()))
            parts = [Part(run.root, without=tuple(without)), Part(artifact_root(), only=patterns, shared=True)]
            stack.enter_context(Workspace(parts))
        if named:
            published = [artifact_root() / "published" / name for name in PUBLISHED]
            stack.enter_context(named_artifacts([run.config, *published], of_run=run.root))
        yield


@contextlib.contextmanager
def named_artifacts(files: Sequence[Path], values: JsonValue = None, of_run: Path | None = None) -> Iterator[None]:
    """Fetch the artifacts that JSON files and `values` name, and publish them at the end. Those of a run are left out.

    Documents are not among them: they are read through an Airflow connection.
    """
    from insurance_rag.core.artifact_store.workspace import Workspace, parts_with_siblings

    contents = [*map(_content, files), values]
    paths = [path for content in contents for path in store_paths(_without_documents(content))]
    wanted = [path for path in dict.fromkeys(paths) if not _is_of_run(path, of_run)]
    with Workspace([part for path in wanted for part in parts_with_siblings(path)]):
        yield


def localized(record: M) -> M:
    """Return a record with local paths in place of the URIs of artifacts. Documents keep their URIs."""
    values = record.model_dump(mode="json")
    kept = {"documents": values["documents"]} if "documents" in values else {}
    local = local_value(values)
    assert isinstance(local, dict)
    return record if local == values else type(record).model_validate({**local, **kept})


def fetch_for_page(run: RunFolder, *, interval_s: float = PAGE_INTERVAL_S) -> None:
    """Fetch what the pages show of a run, without weights, if that was not done in the last `interval_s` seconds."""
    if not is_in_store():
        return
    from insurance_rag.core.artifact_store.mirror import Part, fetch

    with _showing:
        if time.monotonic() - _shown.get(run.root, float("-inf")) < interval_s:
            return
        _shown[run.root] = time.monotonic()
    try:
        fetch(Part(run.root, without=(*CHECKPOINTS, *WEIGHTS)))
    except PipelineError as e:  # a page shows what it knows
        log.warning("the files of a run could not be fetched: %s", e)


def fetch_for_list(runs: Iterable[RunFolder]) -> None:
    """Fetch what the list of runs shows, several runs at a time. A run is looked at once per LIST_INTERVAL_S."""
    if is_in_store():
        from insurance_rag.core.artifact_store.bucket import in_parallel

        in_parallel(lambda run: fetch_for_page(run, interval_s=LIST_INTERVAL_S), runs)


def _content(file: Path) -> JsonValue:
    """Return the JSON value in a file; None if it is missing, or damaged, which the task that reads it reports."""
    try:
        value: JsonValue = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return value


def _without_documents(content: JsonValue) -> JsonValue:
    return {k: v for k, v in content.items() if k not in ("documents", "run")} if isinstance(content, dict) else content


def _is_of_run(path: Path, run: Path | None) -> bool:
    return run is not None and path.is_relative_to(run)
