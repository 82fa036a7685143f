"""What the promotion gate writes: `decision.json`, and in the model registry `champion.json` and `decisions.jsonl`."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record

DecisionKind = Literal["promote", "refuse", "cannot_tell"]
Outcome = Literal["pass", "fail", "unknown"]


class RuleOutcome(Record):
    """What one rule of the gate says about a challenger."""

    name: str
    title: str
    title_ko: str
    outcome: Outcome
    text: str
    """The figures behind the outcome."""
    more_questions: int | None = None
    """Further questions that would settle an unknown outcome if the rates stay as they are; None if none would."""


class ChallengerDecision(Record):
    """The decision about one challenger with all its rules."""

    decision: DecisionKind
    rules: list[RuleOutcome]


class Decision(Record):
    """`decision.json`: whether the best challenger replaces the champion."""

    decision: DecisionKind
    model: str | None
    """The best challenger; None if no adapter was evaluated."""
    champion: str
    reason: str
    more_questions: int | None
    """Further questions that would settle a decision `cannot_tell`; None if no number would."""
    rules: list[RuleOutcome]
    """The rules of the best challenger."""
    challengers: dict[str, ChallengerDecision]
    evaluation: str
    """Absolute path of the evaluation folder."""
    policy: dict[str, JsonValue]
    """The `PromotionConfig`."""
    answers_sha256: str
    """Hash of the `answers.jsonl` that was judged."""


class DecisionArtifact(Artifact):
    """A `decision.json` with its outcome."""

    decision: DecisionKind
    model: str | None
    champion: str
    reason: str


class Champion(Record):
    """`champion.json`: the adapter to serve."""

    model: str
    adapter: str
    """Folder of the adapter, relative to the registry."""
    sha256: str
    """Hash of the adapter's folder."""
    base_model: str
    evaluation: str
    """Absolute path of the evaluation that made it champion."""
    since: str
    """Time of the promotion, ISO 8601 in UTC."""


class DecisionLogEntry(Record):
    """A line of `decisions.jsonl`."""

    at: str
    """Time of the decision, ISO 8601 in UTC."""
    decision: DecisionKind
    model: str | None
    champion: str
    reason: str
    evaluation: str
