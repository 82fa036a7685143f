"""Finds the sets that can be reviewed in the folders of runs, and keeps the latest ones in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.runs import reviews_folder
from insurance_rag.questions.review_items import read_question_items
from insurance_rag.questions.set_files import CANDIDATES, report_path
from insurance_rag.review.records import ReviewItem, ReviewKind
from insurance_rag.review.store import ReviewStore
from insurance_rag.validation.review_items import read_row_items

SetName = Literal["rows", "questions"]
KINDS: dict[SetName, ReviewKind] = {"rows": "row", "questions": "question"}
CACHED_SETS = 8


@dataclass(frozen=True)
class LoadedSet:
    """The items of a set, by position and by key."""

    items: tuple[ReviewItem, ...]
    by_key: dict[str, ReviewItem]
    rule_titles: dict[str, tuple[str, str]]
    """Rule -> its title in English and Korean."""


def set_file(run: RunFolder, name: SetName) -> Path | None:
    """Return the file whose existence shows that the run has the set; None if the run does not have it."""
    if name == "rows":
        report = DatasetFolder(run.dataset).report
        return report if report.is_file() else None
    found = [path for folder in (run.root, run.root / "questions") for path in sorted(folder.glob(f"*{CANDIDATES}"))]
    return found[0] if found else None


def sets_of(run: RunFolder) -> Iterator[tuple[SetName, Path]]:
    """Yield the sets of a run, each with its file."""
    for name in KINDS:
        if file := set_file(run, name):
            yield name, file


def load_set(run: RunFolder, name: SetName, file: Path) -> LoadedSet:
    """Return the items of a set. They are read again only if the file changed."""
    stat = file.stat()
    return _load(run.root, name, file, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=CACHED_SETS)
def _load(root: Path, name: SetName, file: Path, stamp: tuple[int, int]) -> LoadedSet:
    run = RunFolder(root)
    chunks = run.chunks if run.chunks.is_file() else None
    if name == "rows":
        items = read_row_items(DatasetFolder(run.dataset), chunks)
    else:
        questions = file.with_name(f"{file.name.removesuffix(CANDIDATES)}.jsonl")
        items = read_question_items(questions, None if report_path(questions).is_file() else chunks)
    titles = {finding.rule: (finding.title, finding.title_ko) for item in items for finding in item.findings}
    return LoadedSet(tuple(items), {item.key: item for item in items}, titles)


@lru_cache(maxsize=4)
def _store(folder: Path, kind: ReviewKind) -> ReviewStore:
    return ReviewStore(folder, kind)


def store_of(name: SetName) -> ReviewStore:
    """Return the store of the decisions about the items of such sets."""
    return _store(reviews_folder(), KINDS[name])
