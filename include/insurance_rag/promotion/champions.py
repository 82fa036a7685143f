"""Show what the model registry holds, and change its champion by hand: promote an adapter, or roll back.

Every change is a new line in `decisions.jsonl` with the name of a person and a reason. The line is written first, and
champion.json is then replaced in one step. If the process is killed in between, the same command completes the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_tree
from insurance_rag.core.journal import Journal
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.record_files import first_problem
from insurance_rag.core.records import Champion, DecisionLogEntry, EvaluatedAdapter
from insurance_rag.core.records.data import Record
from insurance_rag.promotion.model_registry import ModelRegistry, timestamp

LOCK_WAIT_S = 60
MIN_HASH_DIGITS = 6
"""Minimum length of the beginning of a hash that identifies an adapter."""

FileState = Literal["ok", "missing", "changed"]
A = TypeVar("A", EvaluatedAdapter, Champion)


class RegisteredAdapter(EvaluatedAdapter):
    """An adapter in the registry, with the latest decision in which it was evaluated."""

    files: FileState
    """Whether the registry's copy of the folder still has the hash `sha256`."""
    is_champion: bool
    was_champion: bool
    """Whether the adapter is or was the champion, so that a rollback to it is possible."""
    decided: str
    """Time of the latest decision, ISO 8601 in UTC."""


class ChampionChange(Record):
    """One change of the champion."""

    at: str
    decision: str
    model: str
    sha256: str
    by: str
    """Person who decided, or `gate`."""
    reason: str


class RegistryListing(Record):
    """What the registry holds."""

    champion: str | None
    """Name of the champion, or None."""
    adapters: list[RegisteredAdapter]
    history: list[ChampionChange]
    """All changes of the champion, oldest first."""
    problems: list[str]
    """What is damaged in the registry."""


class ServedChampion(Champion):
    """The champion, with the path of its folder."""

    folder: str
    reason: str
    """Why it became the champion."""
    by: str


def list_registry(root: Path) -> RegistryListing:
    """Return all adapters and all changes of the champion. Raises InvalidInputError if `root` is not a registry."""
    registry = _open(root)
    log = read_log(registry)
    champion, problems = _read_champion(registry, log)
    past = {champion.sha256 for champion in _promoted(log)}
    latest = {adapter.sha256: (adapter, entry.at) for entry in log for adapter in entry.adapters}
    adapters = [
        RegisteredAdapter(
            **adapter.model_dump(),
            files=file_state(registry, adapter.sha256),
            is_champion=champion is not None and champion.sha256 == adapter.sha256,
            was_champion=adapter.sha256 in past,
            decided=at,
        )
        for adapter, at in latest.values()
    ]
    return RegistryListing(
        champion=champion.model if champion else None,
        adapters=adapters,
        history=[_change(entry, entry.promoted) for entry in log if entry.promoted],
        problems=list(problems),
    )


def show_champion(root: Path) -> ServedChampion:
    """Return the champion after checking it. Raises an InvalidInputError that lists what is damaged."""
    registry = _open(root)
    log = read_log(registry)
    champion = checked_champion(registry, log)
    entry = next((e for e in reversed(log) if e.promoted and e.promoted.sha256 == champion.sha256), None)
    return ServedChampion(
        **champion.model_dump(),
        folder=str(registry.adapter(champion.sha256)),
        reason=entry.reason if entry else "",
        by=(entry.by if entry else None) or "gate",
    )


def checked_champion(registry: ModelRegistry, log: Sequence[DecisionLogEntry]) -> Champion:
    """Return the champion if champion.json agrees with the log and the adapter's files have the recorded hash.

    Raises an InvalidInputError that lists all problems.
    """
    champion, problems = _read_champion(registry, log)
    if champion and (problem := _file_problem(registry, champion)):
        problems = [problem]
    if problems:
        raise InvalidInputError(problems)
    if champion is None:
        raise InvalidInputError(f"{registry.root}: no champion yet; promote an adapter first")
    return champion


def promote_by_hand(root: Path, adapter: str, by: str, reason: str) -> Champion:
    """Make an evaluated adapter the champion, whatever the gate decided about it.

    `adapter` is a name or the beginning of a hash. Raises InvalidInputError if it is not in the registry or its files
    are missing or changed; nothing is changed then.
    """
    _check_person(by, reason)
    with _changing(root) as (registry, log):
        found = _find({a.sha256: a for entry in log for a in entry.adapters}, adapter, registry)
        return _make_champion(registry, log, found, "promote", by, reason)


def roll_back(root: Path, by: str, reason: str, to: str | None = None) -> Champion:
    """Make an earlier champion the champion again: the one before the current champion, or the one that `to` names.

    Raises InvalidInputError if there is no such champion or its files are missing or changed; nothing is changed then.
    """
    _check_person(by, reason)
    with _changing(root) as (registry, log):
        last = log[-1] if log else None
        if last and last.promoted and not to and (last.decision, last.by, last.reason) == ("rollback", by, reason):
            registry.publish(last.promoted)  # the same command again, perhaps after an interruption
            return last.promoted
        earlier = _promoted(log)
        if to:
            found = _find({champion.sha256: champion for champion in earlier}, to, registry)
        else:
            found = _replaced_by_current(earlier, registry)
        return _make_champion(registry, log, found, "rollback", by, reason)


def read_log(registry: ModelRegistry) -> list[DecisionLogEntry]:
    """Return all logged decisions, oldest first. Raises InvalidInputError if lines are damaged or edited."""
    journal = Journal(registry.root / "decisions.jsonl")
    entries, problems = [], []
    for number, record in enumerate(journal.read_new(), 1):
        try:
            entries.append(DecisionLogEntry.model_validate(record))
        except ValidationError as e:
            problems.append(f"{journal.path}: record {number} is not a decision ({first_problem(e)}); restore the file")
    if journal.damaged:
        problems.append(f"{journal.path}: {journal.damaged} lines are damaged or were edited; restore the file")
    if problems:
        raise InvalidInputError(problems)
    return entries


def file_state(registry: ModelRegistry, sha256: str) -> FileState:
    """Return whether the registry's copy of an adapter is still what was evaluated."""
    folder = registry.adapter(sha256)
    if not folder.is_dir():
        return "missing"
    return "ok" if sha256_tree(folder) == sha256 else "changed"


@contextmanager
def _changing(root: Path) -> Iterator[tuple[ModelRegistry, list[DecisionLogEntry]]]:
    """Hold the registry's lock, and return the registry and its log."""
    registry = _open(root)
    with hold_lock(root / ".lock", f"registry {root}", wait_s=LOCK_WAIT_S):
        yield registry, read_log(registry)


def _open(root: Path) -> ModelRegistry:
    if not root.is_dir():
        raise InvalidInputError(f"--registry {root}: no such folder; give the registry that `promote` wrote")
    return ModelRegistry(root)


def _check_person(by: str, reason: str) -> None:
    empty = [name for name, text in (("--by", by), ("--reason", reason)) if not text.strip()]
    if empty:
        raise InvalidInputError([f"{name}: empty; the log of decisions keeps who decided and why" for name in empty])


def _find(known: Mapping[str, A], wanted: str, registry: ModelRegistry) -> A:
    """Return the adapter with this name or beginning of a hash. `known` maps hashes to adapters."""
    by_hash = [a for sha256, a in known.items() if len(wanted) >= MIN_HASH_DIGITS and sha256.startswith(wanted)]
    found = by_hash or [a for a in known.values() if a.model == wanted]
    names = ", ".join(f"{a.model} ({a.sha256[:8]})" for a in (found or known.values())) or "none"
    if not found:
        raise InvalidInputError(f"{registry.root}: no adapter {wanted!r} to choose; there are: {names}")
    if len(found) > 1:
        raise InvalidInputError(f"{registry.root}: several adapters are named {wanted!r}: {names}; give the hash")
    return found[0]


def _replaced_by_current(promoted: Sequence[Champion], registry: ModelRegistry) -> Champion:
    """Return the champion that was in service before the current champion was promoted for the first time."""
    hashes = [champion.sha256 for champion in promoted]
    first = hashes.index(hashes[-1]) if hashes else 0
    if first == 0:
        raise InvalidInputError(
            f"{registry.root}: no champion before the current one; name an earlier champion with --to, or promote an "
            "adapter"
        )
    return promoted[first - 1]


def _promoted(log: Sequence[DecisionLogEntry]) -> list[Champion]:
    """Return the champion of every decision that changed it, oldest first."""
    return [entry.promoted for entry in log if entry.promoted]


def _make_champion(
    registry: ModelRegistry,
    log: Sequence[DecisionLogEntry],
    adapter: EvaluatedAdapter | Champion,
    decision: Literal["promote", "rollback"],
    by: str,
    reason: str,
) -> Champion:
    if problem := _file_problem(registry, adapter):
        raise InvalidInputError(problem)
    now = timestamp()
    evaluated = EvaluatedAdapter.model_validate(adapter.model_dump(include=set(EvaluatedAdapter.model_fields)))
    champion = registry.champion_of(evaluated, now)
    entry = DecisionLogEntry(
        at=now,
        decision=decision,
        model=champion.model,
        champion=next((earlier.model for earlier in reversed(_promoted(log))), "none"),
        reason=reason,
        evaluation=champion.evaluation,
        by=by,
        promoted=champion,
    )
    registry.log(entry)
    return champion


def _read_champion(registry: ModelRegistry, log: Sequence[DecisionLogEntry]) -> tuple[Champion | None, Sequence[str]]:
    """Return the champion, or what is wrong with champion.json. It must say what the last change in the log says."""
    try:
        stored = registry.champion
    except InvalidInputError as e:
        return None, e.problems
    problem = _champion_problem(stored, log)
    return (None, [f"{registry.root / 'champion.json'}: {problem}"]) if problem else (stored, [])


def _champion_problem(stored: Champion | None, log: Sequence[DecisionLogEntry]) -> str | None:
    promoted = _promoted(log)
    recorded = promoted[-1] if promoted else None
    if stored == recorded:
        return None
    if recorded is None:
        if any(entry.decision == "promote" for entry in log):
            return (
                "decisions.jsonl is of an earlier version, whose lines do not record the champion; remove "
                "champion.json, and run `insurance-rag promote` on the champion's evaluation again"
            )
        return "decisions.jsonl has no decision that made it the champion; restore decisions.jsonl"
    if stored == next((c for c in reversed(promoted) if c.sha256 != recorded.sha256), None):
        return f"the change to {recorded.model} was interrupted; run the same command again"
    return (
        f"was {'edited' if stored else 'removed'} by hand; decisions.jsonl says that the champion is "
        f"{recorded.model}; restore it with `insurance-rag registry rollback --to {recorded.sha256[:8]}`"
    )


def _file_problem(registry: ModelRegistry, adapter: EvaluatedAdapter | Champion) -> str | None:
    folder, state = registry.adapter(adapter.sha256), file_state(registry, adapter.sha256)
    if state == "missing":
        return f"{folder}: the files of adapter {adapter.model} are gone; restore the folder, or choose another adapter"
    if state == "changed":
        return (
            f"{folder}: the files of adapter {adapter.model} changed since it was evaluated; restore the folder, or "
            "choose another adapter"
        )
    return None


def _change(entry: DecisionLogEntry, champion: Champion) -> ChampionChange:
    return ChampionChange(
        at=entry.at,
        decision=entry.decision,
        model=champion.model,
        sha256=champion.sha256,
        by=entry.by or "gate",
        reason=entry.reason,
    )
