"""Removes old runs under an artifact root."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from insurance_rag.core.artifact_store.locations import location_of, public_uri
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.journal import Journal
from insurance_rag.core.locks import is_locked
from insurance_rag.core.records.retention import PruneResult, RunVerdict
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.retention.references import (
    FILES_OF_REGISTRY,
    FILES_OF_RUN,
    PUBLISHED_NAMES,
    named_registries,
    used_runs,
)

log = logging.getLogger(__name__)

RUN_FILES = ("plan.json", "config.json")
"""A folder with one of these files is a run. Runs are direct children of the root, or of a folder per DAG."""
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


def parse_age(text: str) -> float:
    """Return the seconds of an age such as `30d`, `12h` or `2w`. Raises InvalidInputError for anything else."""
    found = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if not found:
        raise InvalidInputError(f"--older-than {text}: not an age; give e.g. 30d, 12h or 2w")
    return int(found.group(1)) * _UNITS[found.group(2)]


def prune(
    root: Path, registries: Sequence[Path], older_than_s: float, keep_last: int = 0, *, dry_run: bool = False
) -> PruneResult:
    """Remove the runs under `root` that are older than `older_than_s` seconds and that nothing rests on.

    The age of a run is that of its newest file. The newest `keep_last` runs in each folder are kept, and so are runs
    that a process is working on, and those that a published dataset or question set, a registry, or a decision rests on
    (see `references`). Besides `registries`, those that the settings of the runs name are looked at. With `dry_run`,
    nothing is removed.
    """
    _fetch_runs(root)
    runs = _runs(root)
    if not runs and not root.is_dir():
        raise InvalidInputError(f"{root}: there is no such folder; give the artifact root")
    named = named_registries(runs) - {*registries}
    missing = [registry for registry in registries if not _fetch_registry(registry)]
    if missing:
        raise InvalidInputError(
            [f"{path}: is no registry (it has no decisions); correct the path, or leave it out" for path in missing]
        )
    found = [*registries, *(path for path in sorted(named) if _fetch_registry(path))]
    used = used_runs(runs, root / "published", found)
    changed = {run: _changed_at(run) for run in runs}
    newest = _newest(changed, keep_last)
    verdicts: list[RunVerdict] = []
    for run in sorted(runs, key=lambda run: changed[run]):
        reason = _reason_to_keep(run, used, newest, age_s=time.time() - changed[run], older_than_s=older_than_s)
        if not reason and not dry_run:
            _remove(run)
        verdicts.append(RunVerdict(run=public_uri(run), removed=not reason, reason=reason or "old and not used"))
    removed = sum(verdict.removed for verdict in verdicts)
    return PruneResult(dry_run=dry_run, removed=removed, kept=len(verdicts) - removed, runs=verdicts)


def _reason_to_keep(
    run: Path, used: dict[Path, Path], newest: set[Path], *, age_s: float, older_than_s: float
) -> str | None:
    if run in used:
        return f"named in {public_uri(used[run])}"
    if run in newest:
        return "one of the newest runs in its folder"
    if age_s < older_than_s:
        return f"changed {age_s / 86400:.1f} days ago"
    folder = RunFolder(run)
    locks = [folder.plan_lock, *sorted(folder.parts.glob("shard_*.lock"))]
    return "a process is working on it" if any(map(is_locked, locks)) else None


def _runs(root: Path) -> list[Path]:
    found = [path.parent for name in RUN_FILES for depth in ("*", "*/*") for path in root.glob(f"{depth}/{name}")]
    return sorted(run for run in dict.fromkeys(found) if root / "published" not in (run, *run.parents))


def _newest(changed: dict[Path, float], keep_last: int) -> set[Path]:
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for run in sorted(changed, key=lambda run: -changed[run]):
        by_folder[run.parent].append(run)
    return {run for runs in by_folder.values() for run in runs[:keep_last]}


def _changed_at(run: Path) -> float:
    """Return the time of the newest file of a run."""
    if location := location_of(run):
        from insurance_rag.core.artifact_store.bucket import bucket_of

        times = [info.modified.timestamp() for info in bucket_of(location).list_all(location.key)]
    else:
        times = [path.stat().st_mtime for path in run.rglob("*") if path.is_file()]
    return max(times, default=time.time())


def _remove(run: Path) -> None:
    """Remove a run: first what makes it a run, then the rest."""
    log.info("removing %s", public_uri(run))
    if location := location_of(run):
        from insurance_rag.core.artifact_store.bucket import bucket_of, in_parallel
        from insurance_rag.core.artifact_store.index import entries_below, remove_entries

        bucket = bucket_of(location)
        keys = [info.key for info in bucket.list_all(location.key)]
        first = {f"{location.key}/{name}" for name in RUN_FILES}
        in_parallel(bucket.delete, sorted(first))
        in_parallel(bucket.delete, [key for key in keys if key not in first])
        remove_entries(entries_below(run))
    for name in RUN_FILES:
        (run / name).unlink(missing_ok=True)
    shutil.rmtree(run, ignore_errors=True)


def _fetch_runs(root: Path) -> None:
    """Fetch the files that show which runs exist and what they rest on. Known names are asked for by key."""
    if not location_of(root):
        return
    from insurance_rag.core.artifact_store.mirror import Part, fetch

    names = [*RUN_FILES, *FILES_OF_RUN, "parts/*.lock"]
    patterns = [f"{depth}/{name}" for depth in ("*", "*/*") for name in names]
    fetch(Part(root, only=("published/*", *patterns), shared=True))
    for name in PUBLISHED_NAMES:
        fetch(Part(root / "published" / name, shared=True))


def _fetch_registry(registry: Path) -> bool:
    """Fetch the files of a registry that name runs. Return whether it has any decisions."""
    decisions = registry / "decisions.jsonl"
    if location_of(registry):
        from insurance_rag.core.artifact_store.mirror import Part, fetch

        fetch(Part(registry, only=FILES_OF_REGISTRY, shared=True))
        fetch(Part(registry / "champion.json", shared=True))
    return any(Journal(decisions).read_new_lines()) or decisions.is_file()
