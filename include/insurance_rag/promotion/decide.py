"""Decide whether a challenger may replace the champion. The decision is promote, refuse or cannot tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.config import PromotionConfig
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.record_files import read_record, read_records
from insurance_rag.core.records import (
    ChallengerDecision,
    Decision,
    DecisionKind,
    EvaluationSummary,
    Outcome,
    RuleOutcome,
    ScoredAnswer,
)
from insurance_rag.promotion.general_text import GENERAL_TEXT, general_text_rule
from insurance_rag.promotion.model_registry import ModelRegistry
from insurance_rag.promotion.outcomes import NO_WORSE, metrics, rule
from insurance_rag.promotion.repeated_looks import (
    corrected_confidence,
    count_earlier,
    looks_text,
    policy_sha256,
    question_set,
)
from insurance_rag.promotion.rules import apply_rules

PREFERENCE: tuple[DecisionKind, ...] = ("promote", "cannot_tell", "refuse")
LOCK_WAIT_S = 60
EVALUATE_AGAIN = "run evaluate again"


@dataclass(frozen=True)
class _Evaluation:
    """The contents of an evaluation folder."""

    folder: Path
    summary: EvaluationSummary
    rows: Sequence[ScoredAnswer]
    answers_sha256: str

    @property
    def question_set(self) -> str:
        """Hash of the questions."""
        return question_set(self.rows)


@dataclass(frozen=True)
class _Terms:
    """The conditions of a decision that are the same for all challengers."""

    champion: str
    policy: PromotionConfig
    earlier: int | None
    """Number of earlier decisions on the same questions; None if there is no registry that counts them."""
    confidence: float
    """Confidence level of all intervals."""


def decide(
    evaluation_dir: Path,
    policy: PromotionConfig | None = None,
    registry: Path | None = None,
    *,
    dry_run: bool = False,
) -> Decision:
    """Apply the rules to every adapter in an evaluation, write decision.json into its folder, and return the decision.

    `registry` is the folder of the model registry. The registry's champion is the model to beat. A promoted adapter
    becomes the new champion unless `dry_run` is set. Raises InvalidInputError if the evaluation cannot be read or does
    not include the champion.
    """
    policy = policy or PromotionConfig()
    if registry is None:
        return _decide(evaluation_dir, policy, None, dry_run)
    # The lock keeps another process from replacing the champion while this decision is made.
    with hold_lock(registry / ".lock", f"registry {registry}", wait_s=LOCK_WAIT_S):
        return _decide(evaluation_dir, policy, ModelRegistry(registry), dry_run)


def _decide(folder: Path, policy: PromotionConfig, registry: ModelRegistry | None, dry_run: bool) -> Decision:
    evaluation = _read_evaluation(folder)
    summary = evaluation.summary
    settings: dict[str, JsonValue] = policy.model_dump(mode="json")
    if registry and (earlier := _earlier_decision(evaluation, registry, settings)):
        return earlier
    champion = (registry.champion_in(summary) if registry else None) or policy.champion
    if champion not in summary.models:
        raise InvalidInputError(
            f"{folder}: the champion {champion!r} was not evaluated (models: {', '.join(summary.models)}); evaluate it "
            "too, or set another champion in the policy"
        )
    terms = _terms(evaluation, champion, policy, registry)
    decision = _decision(_judge_all(evaluation, terms), evaluation, terms)
    write_json(folder / "decision.json", decision.model_dump(mode="json"))
    if registry and not dry_run:
        registry.record(decision, summary)
    return decision


def _read_evaluation(folder: Path) -> _Evaluation:
    answers = folder / "answers.jsonl"
    return _Evaluation(
        folder=folder,
        summary=read_record(folder / "summary.json", EvaluationSummary, "a summary", EVALUATE_AGAIN),
        rows=read_records(answers, ScoredAnswer, "a scored answer", EVALUATE_AGAIN),
        answers_sha256=sha256_file(answers),
    )


def _challengers(summary: EvaluationSummary, champion: str) -> list[str]:
    """Return the names of all adapters except the champion."""
    return [model for model in summary.models if model != champion and model in summary.adapters]


def _terms(evaluation: _Evaluation, champion: str, policy: PromotionConfig, registry: ModelRegistry | None) -> _Terms:
    """Count the earlier decisions on the same questions, and correct the confidence level."""
    earlier = None
    if registry:
        earlier = count_earlier(
            registry.decisions(),
            evaluation.question_set,
            evaluation.answers_sha256,
            policy_sha256(policy.model_dump(mode="json")),
        )
    challengers = len(_challengers(evaluation.summary, champion))
    return _Terms(champion, policy, earlier, corrected_confidence(policy, challengers, earlier))


def _judge_all(evaluation: _Evaluation, terms: _Terms) -> dict[str, list[RuleOutcome]]:
    """Return the outcomes of all rules for each challenger."""
    summary, champion = evaluation.summary, terms.champion
    challengers = _challengers(summary, champion)
    by_model = {model: [row for row in evaluation.rows if row.model == model] for model in (champion, *challengers)}
    return {
        model: [
            *_uncontaminated(model, summary),
            *apply_rules(by_model[model], by_model[champion], terms.policy, terms.confidence),
            *general_text_rule(model, summary, terms.policy, terms.confidence),
            *_repeated_looks(terms, summary.questions),
        ]
        for model in challengers
    }


def _uncontaminated(model: str, summary: EvaluationSummary) -> Iterator[RuleOutcome]:
    """Yield the outcome of the rule `uncontaminated`, or nothing if the model's training documents are unknown."""
    contaminated = summary.contaminated.get(model)
    if contaminated is not None:
        questions = f"{contaminated} of {summary.questions} questions"
        text = f"{questions} are about documents or sections that the model was trained on"
        text_ko = f"질문 {summary.questions}개 중 {contaminated}개가 이 모델이 학습한 문서나 절에 관한 것입니다."
        yield rule("uncontaminated", "fail" if contaminated else "pass", text, text_ko=text_ko)


def _repeated_looks(terms: _Terms, questions: int) -> Iterator[RuleOutcome]:
    """Yield the rule that reports the number of decisions on these questions. It never fails."""
    if terms.earlier is not None:
        text, text_ko = looks_text(terms.policy, terms.earlier, questions, terms.confidence)
        yield rule("repeated_looks", "pass", text, text_ko=text_ko)


def _earlier_decision(
    evaluation: _Evaluation, registry: ModelRegistry, policy: Mapping[str, JsonValue]
) -> Decision | None:
    """Return the earlier decision if this evaluation already promoted the current champion with the same policy.

    Without the earlier decision, the new champion would be compared with itself and refused.
    """
    path, champion = evaluation.folder / "decision.json", registry.champion
    if champion is None or not path.is_file():
        return None
    earlier = read_record(path, Decision, "a decision", "remove it")
    promoted = earlier.decision == "promote" and champion.evaluation == public_uri(evaluation.folder)
    unchanged = earlier.policy == policy and earlier.answers_sha256 == evaluation.answers_sha256
    return earlier if promoted and unchanged else None


def _decision(judged: Mapping[str, list[RuleOutcome]], evaluation: _Evaluation, terms: _Terms) -> Decision:
    """Return the decision about the best challenger.

    The best challenger has the best decision (promote, cannot tell, refuse). If several challengers share this
    decision, the one with the best rate of the metric `policy.metric` is chosen.
    """
    decisions = {model: _combine(rules) for model, rules in judged.items()}
    metric = metrics()[terms.policy.metric]

    def rank(model: str) -> tuple[int, float]:
        rate = metric.rate(row for row in evaluation.rows if row.model == model).rate
        value = 1.0 if rate is None else rate if metric.better == "lower" else 1.0 - rate
        return PREFERENCE.index(decisions[model]), value

    best = min(judged, key=rank) if judged else None
    rules = judged[best] if best else []
    decision = decisions[best] if best else "refuse"
    more = max((r.more_questions or 0 for r in rules if r.outcome == "unknown"), default=0) or None
    return Decision(
        decision=decision,
        model=best,
        champion=terms.champion,
        reason=_reason(best, terms.champion, decision, rules, more),
        more_questions=more if decision == "cannot_tell" else None,
        rules=rules,
        challengers={m: ChallengerDecision(decision=decisions[m], rules=own) for m, own in judged.items()},
        evaluation=public_uri(evaluation.folder),
        policy=terms.policy.model_dump(mode="json"),
        answers_sha256=evaluation.answers_sha256,
        question_set=evaluation.question_set,
        earlier_decisions=terms.earlier,
        confidence=terms.confidence,
    )


def _combine(rules: Sequence[RuleOutcome]) -> DecisionKind:
    """Return `refuse` if any rule fails, else `cannot_tell` if any outcome is unknown, else `promote`."""
    outcomes = {r.outcome for r in rules}
    return "refuse" if "fail" in outcomes else "cannot_tell" if "unknown" in outcomes else "promote"


def _reason(
    model: str | None, champion: str, decision: DecisionKind, rules: Sequence[RuleOutcome], more: int | None
) -> str:
    """Return the decision in words, with one line per rule that led to it and for the decisions on these questions."""
    if model is None:
        return "no adapter was evaluated next to the champion"
    looks = [r.text for r in rules if r.name == "repeated_looks"]
    if decision == "promote":
        better = next((r.text for r in rules if r.name == "better" or r.name.startswith(NO_WORSE)), "")
        return _listed(f"{model} replaces {champion}: {better}", looks)
    wanted: Outcome = "fail" if decision == "refuse" else "unknown"
    decisive = [f"{r.name} ({r.text})" for r in rules if r.outcome == wanted]
    if decision == "refuse":
        return _listed(f"{model} may not replace {champion}:", [*decisive, *looks])
    return _listed(f"cannot tell whether {model} may replace {champion}: {_advice(rules, more)}", [*decisive, *looks])


def _listed(head: str, items: Sequence[str]) -> str:
    return "\n  - ".join([head, *items])


def _advice(rules: Sequence[RuleOutcome], more: int | None) -> str:
    """Return what to do if the gate cannot tell."""
    if more:
        return f"ask {more} more questions"
    if any("cannot judge" in r.text for r in rules if r.outcome == "unknown"):
        return "complete the question file"
    if any(r.name == GENERAL_TEXT for r in rules if r.outcome == "unknown"):
        return "measure the perplexity on more general text"
    return "the difference is too close to the limit for any number of questions"
