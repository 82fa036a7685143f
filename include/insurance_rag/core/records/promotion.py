"""Records that the promotion gate writes: `decision.json`, `champion.json` and `decisions.jsonl`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record

DecisionKind = Literal["promote", "refuse", "cannot_tell"]
Outcome = Literal["pass", "fail", "unknown"]


class RuleFigures(Record):
    """The figures that a rule about a metric is based on.

    The rule passes if the whole interval is on the right side of `allowed`.
    """

    metric: str
    n: int
    """Number of questions in the metric's population."""
    own: float
    """Rate of the challenger."""
    champion: float | None
    """Rate of the champion. None if the rule compares the challenger's rate with a limit."""
    low: float
    """Lower end of the interval for the difference `own - champion`; for `own` if there is no champion."""
    high: float
    allowed: float
    """Smallest or largest value that is allowed for the difference; for `own` if there is no champion."""
    bound: Literal["at_least", "at_most", "more_than", "less_than"]
    """On which side of `allowed` the interval must be."""


class RuleOutcome(Record):
    """Outcome of one rule of the gate for one challenger."""

    name: str
    title: str
    title_ko: str
    outcome: Outcome
    text: str
    """Explanation of the outcome, with the values that it is based on."""
    text_ko: str | None = None
    """`text` in Korean; None if there is no translation."""
    figures: RuleFigures | None = None
    """The values in `text` as numbers. None if the rule is not about a metric, or if its population is empty."""
    more_questions: int | None = None
    """Number of additional questions that would turn an unknown outcome into a pass or a fail if the rates stay the
    same. None if there is no such number."""


class ChallengerDecision(Record):
    """Decision about one challenger, with the outcomes of all rules."""

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
    """Number of additional questions that would turn `cannot_tell` into another decision; None if there is none."""
    rules: list[RuleOutcome]
    """Outcomes of all rules for the best challenger."""
    challengers: dict[str, ChallengerDecision]
    evaluation: str
    """Absolute path of the evaluation folder."""
    policy: dict[str, JsonValue]
    """The `PromotionConfig` that was used."""
    answers_sha256: str
    """Hash of the `answers.jsonl` that the decision is based on."""
    question_set: str
    """Hash of the questions with their ids and reference answers."""
    earlier_decisions: int | None
    """Number of earlier decisions on the same question set; None if there is no registry that counts them."""
    confidence: float
    """Confidence level of all intervals, after the corrections for multiple challengers and earlier decisions."""


class DecisionArtifact(Artifact):
    """A `decision.json` file and the decision in it."""

    decision: DecisionKind
    model: str | None
    champion: str
    reason: str


class Champion(Record):
    """`champion.json`: the adapter in service."""

    model: str
    adapter: str
    """Folder of the adapter, relative to the registry folder."""
    sha256: str
    """Hash of the adapter folder."""
    base_model: str
    prompt_format: str
    """Prompt format in which the adapter was evaluated. Whoever serves the adapter must ask it in this format."""
    evaluation: str
    """Absolute path of the evaluation folder that the promotion is based on."""
    since: str
    """Time of the promotion, ISO 8601 in UTC."""


class EvaluatedAdapter(Record):
    """An adapter of an evaluation that a decision was made about. The registry has a copy of its folder."""

    model: str
    """Name of the adapter in the evaluation."""
    sha256: str
    """Hash of the adapter folder."""
    base_model: str
    prompt_format: str
    """Prompt format in which the adapter was evaluated."""
    evaluation: str
    """Path or URI of the evaluation folder."""


class DecisionLogEntry(Record):
    """One line of `decisions.jsonl`."""

    at: str
    """Time of the decision, ISO 8601 in UTC."""
    decision: DecisionKind | Literal["rollback"]
    model: str | None
    champion: str
    reason: str
    evaluation: str
    answers_sha256: str | None = None
    policy_sha256: str | None = None
    """Hash of the `PromotionConfig` that was used."""
    question_set: str | None = None
    """Hash of the questions. None in lines of earlier versions, which are not counted as decisions on any questions."""
    earlier_decisions: int | None = None
    """Number of earlier decisions on the same question set."""
    by: str | None = None
    """Person who decided. None if the gate decided."""
    adapters: list[EvaluatedAdapter] = Field(default_factory=list)
    """Adapters that were evaluated for this decision."""
    promoted: Champion | None = None
    """The new champion. None if this decision did not change the champion."""
