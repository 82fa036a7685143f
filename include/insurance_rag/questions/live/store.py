"""The folder of an import. Its journals hold what was imported, so that the same import again adds nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.journal import Journal
from insurance_rag.core.record_files import first_problem
from insurance_rag.core.records.live_questions import LiveMatch, LiveRecord

R = TypeVar("R", bound=BaseModel)
RECORDS_AT_ONCE = 500


@dataclass(frozen=True)
class LiveFolder:
    """Paths of the files of an import folder."""

    root: Path

    @property
    def lock(self) -> Path:
        """Lock file that ensures that only one process imports into the folder."""
        return self.root / "import.lock"

    @property
    def records(self) -> Path:
        """Journal of the anonymized records."""
        return self.root / "journal" / "records.jsonl"

    @property
    def matches(self) -> Path:
        """Journal of the chunks that were found."""
        return self.root / "journal" / "matches.jsonl"

    @property
    def index(self) -> Path:
        """Folder of the retriever's index."""
        return self.root / "index"

    @property
    def live_questions(self) -> Path:
        """All distinct questions."""
        return self.root / "live_questions.jsonl"

    @property
    def review(self) -> Path:
        """Question set of what a person should look at."""
        return self.root / "review.jsonl"

    @property
    def questions(self) -> Path:
        """Question set of new evaluation questions."""
        return self.root / "questions.jsonl"

    @property
    def targets(self) -> Path:
        """Chunk file of the generation targets, for `plan --chunks`."""
        return self.root / "generation_targets.jsonl"

    @property
    def report(self) -> Path:
        """The `LiveReport`, which is written last."""
        return self.root / "report.json"

    @property
    def page(self) -> Path:
        """The report as a page."""
        return self.root / "report.html"


def add_records(folder: LiveFolder, new: Iterable[LiveRecord]) -> tuple[dict[str, LiveRecord], int]:
    """Append the records that the journal does not have yet. Return all records by key, and the number of new keys.

    A record with a known key and other content replaces the earlier one, e.g. after new feedback. Content that was
    replaced before does not come back.
    """
    with Journal(folder.records, append=True) as journal:
        earlier = _read(journal, LiveRecord)
        seen = set(map(_content, earlier))
        known = {record.key: record for record in earlier}
        before = len(known)
        waiting: list[LiveRecord] = []
        for record in new:
            if (content := _content(record)) not in seen:
                seen.add(content)
                known[record.key] = record
                waiting.append(record)
            if len(waiting) == RECORDS_AT_ONCE:
                append_records(journal, waiting)
                waiting = []
        append_records(journal, waiting)
    return known, len(known) - before


def _content(record: LiveRecord) -> bytes:
    return hashlib.sha256(record.model_dump_json().encode()).digest()


def read_matches(journal: Journal) -> dict[str, LiveMatch]:
    """Return the matches of a journal by key."""
    return {match.key: match for match in _read(journal, LiveMatch)}


def append_records(journal: Journal, records: Sequence[BaseModel]) -> None:
    """Append records to a journal, and wait until they are on the disk."""
    if records:
        journal.append_all([record.model_dump(exclude_defaults=True) for record in records])
        journal.sync()


def _read(journal: Journal, kind: type[R]) -> list[R]:
    try:
        return [kind.model_validate(record) for record in journal.read_new()]
    except ValidationError as e:
        raise InvalidInputError(
            f"{journal.path}: not a journal of `questions import` ({first_problem(e)}); choose another folder"
        ) from None
