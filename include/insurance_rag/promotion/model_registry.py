"""The model registry: a folder with the champion, a copy of each evaluated adapter, and a log of every decision.

champion.json          the champion; its field `adapter` is the folder to serve
adapters/SHA256/       a copy of an evaluated adapter; SHA256 stands for the first 16 digits of the adapter's hash
decisions.jsonl        one line per decision, with a checksum; lines are only added

`insurance_rag.promotion.champions` changes the champion by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from insurance_rag.core.artifact_store.workspace import fetched
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import new_folder, read_json, write_json
from insurance_rag.core.hashing import sha256_tree
from insurance_rag.core.journal import Journal
from insurance_rag.core.records import (
    Artifact,
    Champion,
    Decision,
    DecisionLogEntry,
    EvaluatedAdapter,
    EvaluationSummary,
)
from insurance_rag.promotion.repeated_looks import policy_sha256

CHAMPION = "champion"
"""Name under which the champion is evaluated together with new adapters."""


class ModelRegistry:
    """The model registry in the folder `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def champion(self) -> Champion | None:
        """The champion, or None if nothing was promoted yet. Raises InvalidInputError if champion.json is damaged."""
        path = self.root / "champion.json"
        if not path.exists():
            return None
        try:
            return Champion.model_validate(read_json(path))
        except ValidationError as e:
            raise InvalidInputError(
                f"{path}: not a champion ({e.error_count()} problems); restore it with `insurance-rag registry "
                "rollback --to ADAPTER`, or delete it to start without one"
            ) from e

    def adapter(self, sha256: str) -> Path:
        """Return the folder of the adapter with this hash."""
        return self.root / "adapters" / sha256[:16]

    def with_champion(self, adapters: Mapping[str, str]) -> dict[str, str]:
        """Return `adapters` (name -> folder). If they do not include the champion, it is added at the beginning."""
        champion = self.champion
        if champion is None or champion.sha256 in (sha256_tree(Path(folder)) for folder in adapters.values()):
            return dict(adapters)
        return {CHAMPION: str(self.adapter(champion.sha256)), **adapters}

    def champion_in(self, summary: EvaluationSummary) -> str | None:
        """Return the name under which the champion was evaluated, or None if there is no champion yet.

        Models can be compared only within one evaluation. Raises InvalidInputError if the evaluation does not include
        the champion.
        """
        champion = self.champion
        if champion is None:
            return None
        for name, adapter in summary.adapters.items():
            if adapter.sha256 == champion.sha256:
                return name
        folder = self.adapter(champion.sha256)
        raise InvalidInputError(
            f"the champion {champion.model} was not evaluated; add --adapter {CHAMPION}={folder} to `evaluate`"
        )

    def record(self, decision: Decision, summary: EvaluationSummary) -> None:
        """Store the evaluated adapters and log the decision. If an adapter was promoted, make it the champion.

        The champion is replaced last, in one atomic step. Raises InvalidInputError if an adapter has changed since it
        was evaluated.
        """
        for adapter in summary.adapters.values():
            self._store(adapter)
        adapters = _evaluated(summary, decision.evaluation)
        chosen = next((a for a in adapters if a.model == decision.model), None)
        now = timestamp()
        promoted = self.champion_of(chosen, now) if chosen and decision.decision == "promote" else None
        entry = DecisionLogEntry(
            at=now,
            decision=decision.decision,
            model=decision.model,
            champion=decision.champion,
            reason=decision.reason,
            evaluation=decision.evaluation,
            answers_sha256=decision.answers_sha256,
            policy_sha256=policy_sha256(decision.policy),
            question_set=decision.question_set,
            earlier_decisions=decision.earlier_decisions,
            adapters=adapters,
            promoted=promoted,
        )
        self.log(entry)

    def champion_of(self, adapter: EvaluatedAdapter, since: str) -> Champion:
        """Return the record that makes an adapter the champion."""
        folder = self.adapter(adapter.sha256).relative_to(self.root).as_posix()
        return Champion(**adapter.model_dump(), adapter=folder, since=since)

    def log(self, entry: DecisionLogEntry) -> None:
        """Log a decision. If it changes the champion, replace champion.json after the entry is on disk."""
        with Journal(self.root / "decisions.jsonl", append=True) as journal:
            journal.append(entry.model_dump(mode="json"))
            journal.sync()
        if entry.promoted:
            self.publish(entry.promoted)

    def publish(self, champion: Champion) -> None:
        """Replace champion.json in one atomic step."""
        write_json(self.root / "champion.json", champion.model_dump(mode="json"))

    def decisions(self) -> list[DecisionLogEntry]:
        """Return all logged decisions, oldest first. Damaged lines are skipped."""
        return [DecisionLogEntry.model_validate(record) for record in Journal(self.root / "decisions.jsonl").read_new()]

    def _store(self, adapter: Artifact) -> None:
        """Copy an adapter into the registry unless a copy already exists."""
        target = self.adapter(adapter.sha256)
        if target.is_dir():
            return
        folder = fetched(adapter.uri)
        if sha256_tree(folder) != adapter.sha256:
            raise InvalidInputError(f"{folder}: the adapter changed since it was evaluated; evaluate it again")
        with new_folder(target) as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)


def timestamp() -> str:
    """Return the current time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _evaluated(summary: EvaluationSummary, evaluation: str) -> list[EvaluatedAdapter]:
    return [
        EvaluatedAdapter(
            model=name,
            sha256=adapter.sha256,
            base_model=summary.base_model,
            prompt_format=summary.prompt_formats[name],
            evaluation=evaluation,
        )
        for name, adapter in summary.adapters.items()
    ]
