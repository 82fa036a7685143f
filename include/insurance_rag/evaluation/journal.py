"""The journal of generated answers, from which a killed evaluation resumes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from insurance_rag.core.journal import Journal
from insurance_rag.core.records import Record
from insurance_rag.evaluation.requests import GeneratedAnswer


class _Entry(Record):
    """A line of the journal."""

    key: str
    text: str
    new_tokens: int
    seconds: float


class EvaluationJournal:
    """Stores generated answers by request key. Damaged lines are skipped, so only their answers are generated again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, GeneratedAnswer] = {}

    def __enter__(self) -> EvaluationJournal:
        """Open the file for appending and read its answers. Raises IncompleteError if the file cannot be written."""
        self._journal = Journal(self.path, append=True)
        for record in self._journal.read_new():
            entry = _Entry.model_validate(record)
            self.answers[entry.key] = GeneratedAnswer(entry.text, entry.new_tokens, entry.seconds)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.sync()
        self._journal.close()

    def add(self, key: str, answer: GeneratedAnswer) -> None:
        """Store an answer. A killed process does not lose it, but a power failure before the next `sync` may."""
        self.answers[key] = answer
        self._journal.append({"key": key, **asdict(answer)})

    def sync(self) -> None:
        """Wait until every stored answer is on disk."""
        self._journal.sync()
