"""Moves decisions between the store and files: a person reviews the file elsewhere, and its decisions are imported.

Both formats name each item by its key and by the version that was exported. An import is rejected as a whole if any
line is invalid, or if somebody decided about an item after the export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.records.data import Record
from insurance_rag.review.argilla import read_argilla, write_argilla
from insurance_rag.review.edits import changed_fields, new_decision
from insurance_rag.review.imported import ImportedLine
from insurance_rag.review.records import Decision, ReviewItem
from insurance_rag.review.spreadsheet import read_csv, write_csv
from insurance_rag.review.store import ItemState, ReviewStore, decision_problems

FileFormat = Literal["csv", "jsonl"]

WRITERS: dict[FileFormat, Callable[[Sequence[ReviewItem], Mapping[str, ItemState]], bytes]] = {
    "csv": write_csv,
    "jsonl": write_argilla,
}
READERS: dict[FileFormat, Callable[[bytes, str], list[ImportedLine]]] = {"csv": read_csv, "jsonl": read_argilla}


class ImportSummary(Record):
    """What an import did."""

    recorded: int = Field(description="decisions that were recorded")
    unchanged: int = Field(description="lines whose decision was already recorded")
    undecided: int = Field(description="lines without a decision")


def file_format(name: str) -> FileFormat:
    """Return the format that belongs to the suffix of a file name. Raises InvalidInputError for any other suffix."""
    suffix = name.lower().rpartition(".")[2]
    if suffix == "csv":
        return "csv"
    if suffix in ("jsonl", "json"):
        return "jsonl"
    raise InvalidInputError(f"{name}: unknown format; use a file that ends in .csv or .jsonl")


def export_items(items: Sequence[ReviewItem], store: ReviewStore, form: FileFormat) -> bytes:
    """Return the items with the decisions about them as the content of a file."""
    return WRITERS[form](items, store.states())


def import_decisions(
    content: bytes, name: str, items: Sequence[ReviewItem], store: ReviewStore, reviewer: str
) -> ImportSummary:
    """Record the decisions in a file, in the name of `reviewer`. `name` is the name of the file, for messages.

    Raises an InvalidInputError that lists every invalid line. Nothing is recorded in this case.
    """
    lines = READERS[file_format(name)](content, name)
    decided, states = {item.key: item for item in items}, store.states()
    problems: list[LineProblem] = []
    new: list[tuple[Decision, int]] = []
    unchanged = 0
    for line in lines:
        state = states.get(line.key, ItemState())
        found = _problems(line, decided.get(line.key), state)
        problems += [LineProblem(name, line.number, text) for text in found]
        if found or not line.action:
            continue
        decision = _decision(line, decided[line.key], state, reviewer)
        if state.decision and _same(decision, state.decision):
            unchanged += 1
        elif line.version != state.version:
            problems.append(LineProblem(name, line.number, _outdated(state)))
        else:
            problems += [LineProblem(name, line.number, text) for text in _form_problems(decision)]
            new.append((decision, state.version))
    problems += _repeated(lines, name)
    if problems:
        problems.sort(key=lambda problem: problem.line)
        raise InvalidInputError(problems)
    if new:
        store.decide_all(new)
    undecided = sum(not line.action for line in lines)
    return ImportSummary(recorded=len(new), unchanged=unchanged, undecided=undecided)


def _decision(line: ImportedLine, item: ReviewItem, state: ItemState, reviewer: str) -> Decision:
    assert line.action
    return new_decision(item, state.decision, line.action, reviewer=reviewer, reason=line.reason, texts=line.texts)


def _problems(line: ImportedLine, item: ReviewItem | None, state: ItemState) -> list[str]:
    """Return what is wrong with a line, apart from its version."""
    if line.problem:
        return [line.problem]
    if item is None:
        return ["unknown key; export the items of this set again, and do not change the column 'key'"]
    changed = sorted(changed_fields(item, state.decision, line.texts))
    if changed and line.action != "edit" and line.version == state.version:
        return [f"the texts were changed ({', '.join(changed)}), but the action is not 'edit'; set it to 'edit'"]
    if line.action == "approve" and item.dropped and not item.approvable:
        rules = ", ".join(finding.rule for finding in item.findings)
        return [f"approving cannot reverse the rule {rules}; use 'edit' or 'reject'"]
    return []


def _form_problems(decision: Decision) -> list[str]:
    return [text.partition(": ")[2] for text in decision_problems(decision, decision.kind)]


def _same(one: Decision, other: Decision) -> bool:
    return (one.action, one.reason, one.fields) == (other.action, other.reason, other.fields)


def _outdated(state: ItemState) -> str:
    last = state.history[-1] if state.history else None
    by = f"{last.reviewer or 'somebody'} decided about it at {last.time}" if last else "its decisions were removed"
    return f"the item changed after the export: {by}; export it again, then decide"


def _repeated(lines: Sequence[ImportedLine], name: str) -> list[LineProblem]:
    first: dict[str, int] = {}
    problems = []
    for line in lines:
        if line.key and first.setdefault(line.key, line.number) != line.number:
            text = f"repeats the key of line {first[line.key]}; keep one of the two lines"
            problems.append(LineProblem(name, line.number, text))
    return problems
