"""The store of review decisions: one append-only journal per kind of item, under <artifact root>/reviews.

Decisions are never changed or removed. A newer decision about the same item replaces the older one, and undoing a
decision appends a record, after which the decision before it applies again. Several processes may write at the same
time. A reviewer's decision is accepted only if nobody else decided about the item since the reviewer saw it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from insurance_rag.core.errors import InvalidInputError, PipelineError
from insurance_rag.core.journal import Journal
from insurance_rag.core.record_files import first_problem
from insurance_rag.review.records import EDITABLE_FIELDS, Decision, ReviewEvent, ReviewKind

FILES: dict[ReviewKind, str] = {"row": "rows.jsonl", "question": "questions.jsonl"}


@dataclass(frozen=True)
class ItemState:
    """What is recorded about one item."""

    decision: Decision | None = None
    """The decision that applies; None if there is none or if all were undone."""
    history: tuple[ReviewEvent, ...] = ()
    """All records about the item, oldest first."""
    sequence: int = 0
    """Number of the newest record about the item among all records of the store."""

    @property
    def version(self) -> int:
        """Number of records about the item. A new decision must name the version that the reviewer saw."""
        return len(self.history)


class ReviewConflictError(PipelineError):
    """Somebody else decided about the item after the reviewer saw it. `current` is what is recorded now."""

    def __init__(self, key: str, current: ItemState) -> None:
        last = current.history[-1] if current.history else None
        by = f"{last.reviewer or 'somebody'} recorded {last.action!r} at {last.time}" if last else "nothing is recorded"
        super().__init__(f"item {key}: {by}; look at the item again, then decide")
        self.key = key
        self.current = current


class ReviewStore:
    """The decisions about one kind of item. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, kind: ReviewKind) -> None:
        """Open the store in `folder`. No file is created before the first decision."""
        self.kind = kind
        self.path = folder / FILES[kind]
        self._journal = Journal(self.path)
        self._states: dict[str, ItemState] = {}
        self._records = 0
        self._lock = threading.RLock()

    @property
    def records(self) -> int:
        """Number of records in the journal. It grows with every decision."""
        with self._lock:
            self._read_new()
            return self._records

    def state(self, key: str) -> ItemState:
        """Return what is recorded about one item."""
        with self._lock:
            self._read_new()
            return self._states.get(key, ItemState())

    def states(self) -> Mapping[str, ItemState]:
        """Return what is recorded about every item that has a record, by key."""
        with self._lock:
            self._read_new()
            return dict(self._states)

    def decisions(self) -> dict[str, Decision]:
        """Return the decisions that apply, by key."""
        return {key: state.decision for key, state in self.states().items() if state.decision}

    def decide(self, decision: Decision, expected_version: int) -> ItemState:
        """Record a decision, and return the new state of the item.

        `expected_version` is the version that the reviewer saw, 0 for an item without records. The time is filled in
        if it is missing. Raises ReviewConflictError if the item has another version by now, and InvalidInputError for
        a rejection without a reason or for an edit that changes nothing.
        """
        return self.decide_all([(decision, expected_version)])[0]

    def decide_all(self, decisions: Sequence[tuple[Decision, int]]) -> list[ItemState]:
        """Record several decisions with their expected versions: all of them, or none if any is invalid or outdated.

        If the process is killed during the call, the first decisions may be recorded without the others.
        """
        if problems := [p for decision, _ in decisions for p in decision_problems(decision, self.kind)]:
            raise InvalidInputError(problems)
        with self._writing() as journal:
            self._check_versions(decisions)
            events = []
            for decision, expected in decisions:
                facts = decision.model_dump() | {"time": decision.time or _now(), "version": expected + 1}
                events.append(ReviewEvent.model_validate(facts).model_dump(exclude_defaults=True))
            journal.append_all(events)
            journal.sync()
            self._read_new()
            return [self._states[decision.key] for decision, _ in decisions]

    def undo(self, key: str, reviewer: str, expected_version: int) -> ItemState:
        """Undo the decision that applies to an item. The decision before it, if there is one, applies again.

        Raises ReviewConflictError if the item has another version by now, and InvalidInputError if it has no decision.
        """
        with self._writing() as journal:
            current = self._states.get(key, ItemState())
            if current.version != expected_version:
                raise ReviewConflictError(key, current)
            if current.decision is None:
                raise InvalidInputError(f"item {key}: has no decision to undo; reload the page")
            event = ReviewEvent(
                kind=self.kind, key=key, action="undo", reviewer=reviewer, time=_now(), version=expected_version + 1
            )
            journal.append(event.model_dump(exclude_defaults=True))
            journal.sync()
            self._read_new()
            return self._states[key]

    @contextmanager
    def _writing(self) -> Iterator[Journal]:
        """Hold the lock on the journal, with all earlier records read. Other processes wait for the lock."""
        with self._lock, Journal(self.path, append=True, shared=True) as journal, journal.locked():
            self._read_new()
            yield journal

    def _check_versions(self, decisions: Sequence[tuple[Decision, int]]) -> None:
        versions: dict[str, int] = {}
        for decision, expected in decisions:
            current = self._states.get(decision.key, ItemState())
            if versions.setdefault(decision.key, current.version) != expected:
                raise ReviewConflictError(decision.key, current)
            versions[decision.key] += 1

    def _read_new(self) -> None:
        for record in self._journal.read_new():
            self._records += 1
            try:
                event = ReviewEvent.model_validate(record)
            except ValidationError as e:
                raise InvalidInputError(
                    f"{self.path}: not a journal of decisions ({first_problem(e)}); restore the file"
                ) from None
            history = (*self._states.get(event.key, ItemState()).history, event)
            self._states[event.key] = ItemState(_effective(history), history, self._records)


def decision_problems(decision: Decision, kind: ReviewKind) -> list[str]:
    """Return what is wrong with a decision; an empty list if it can be recorded."""
    where = f"item {decision.key}"
    problems = []
    if decision.kind != kind:
        problems.append(f"{where}: is a {decision.kind}, but this store holds decisions about a {kind}")
    if decision.action == "reject" and not decision.reason.strip():
        problems.append(f"{where}: a rejection has no reason; say what is wrong with it")
    if decision.action == "edit" and not decision.fields:
        problems.append(f"{where}: an edit changes no field; change a text, or approve the item")
    if decision.action != "edit" and decision.fields:
        problems.append(f"{where}: {decision.action!r} has edited fields; use 'edit'")
    if unknown := sorted(set(decision.fields) - set(EDITABLE_FIELDS[kind])):
        problems.append(f"{where}: {', '.join(unknown)} cannot be edited; use {', '.join(EDITABLE_FIELDS[kind])}")
    if "question" in decision.fields and not decision.fields["question"].strip():
        problems.append(f"{where}: the edited question is empty; reject the item instead")
    if "answer" in decision.fields and not decision.fields["answer"].strip():
        problems.append(f"{where}: the edited answer is empty; reject the item instead")
    return problems


def _effective(history: Sequence[ReviewEvent]) -> Decision | None:
    """Return the newest decision that was not undone."""
    stack: list[ReviewEvent] = []
    for event in history:
        if event.action != "undo":
            stack.append(event)
        elif stack:
            stack.pop()
    return Decision.model_validate(stack[-1].model_dump()) if stack else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
