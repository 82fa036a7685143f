"""Decide from an evaluation whether a challenger replaces the champion: promote, refuse, or cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from insurance_rag.config import PromotionConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.locks import held
from insurance_rag.promotion.registry import Registry
from insurance_rag.promotion.rules import Rule, judge


def decide(
    evaluation_dir: Path,
    policy: PromotionConfig | None = None,
    registry: Path | None = None,
    *,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write decision.json into the evaluation's folder and return it.

    {decision: promote | refuse | cannot_tell, model, champion, reason, more_questions, rules, challengers}. `model` is
    the best challenger. With a registry its champion is the one to beat, and a promoted model becomes the new one
    unless it is a `dry_run`.
    """
    policy = policy or PromotionConfig()
    if registry is None:
        return _decide(evaluation_dir, policy, None, dry_run)
    # Another decision must not come between reading the champion and replacing it.
    with held(registry / ".lock", f"registry {registry}", wait_s=60):
        return _decide(evaluation_dir, policy, Registry(registry), dry_run)


def _decide(evaluation_dir: Path, policy: PromotionConfig, shelf: Registry | None, dry_run: bool) -> dict[str, Any]:
    summary = read_json(evaluation_dir / "summary.json")
    rows = read_jsonl(evaluation_dir / "answers.jsonl")
    judged_by = {
        "policy": policy.model_dump(mode="json"),
        "answers_sha256": sha256_file(evaluation_dir / "answers.jsonl"),
    }
    if shelf and (before := _decided_already(evaluation_dir, shelf, judged_by)):
        return before
    champion = (shelf.champion_in(summary) if shelf else None) or policy.champion
    if champion not in summary["models"]:
        models = ", ".join(summary["models"])
        raise InvalidInputError(f"{evaluation_dir}: the champion {champion!r} was not evaluated; models: {models}")
    decision = _decision(_judge_all(rows, summary, champion, policy), summary, champion) | {
        "evaluation": str(evaluation_dir.resolve()),
        **judged_by,
    }
    write_json(evaluation_dir / "decision.json", decision)
    if shelf and not dry_run:
        shelf.record(decision, summary)
    return decision


def _judge_all(
    rows: list[dict[str, Any]], summary: dict[str, Any], champion: str, policy: PromotionConfig
) -> dict[str, list[Rule]]:
    """The rules' outcomes for every adapter but the champion."""
    challengers = [model for model in summary["models"] if model != champion and model in summary["adapters"]]
    # Bonferroni: the more challengers, the easier one of them is better by chance.
    confidence = 1 - (1 - policy.confidence) / max(1, len(challengers))
    of = {model: [row for row in rows if row["model"] == model] for model in (champion, *challengers)}
    return {
        model: [*_unseen(model, summary), *judge(of[model], of[champion], policy, confidence)] for model in challengers
    }


def _unseen(model: str, summary: dict[str, Any]) -> Iterator[Rule]:
    """Questions about what a model was trained on say nothing of how it answers new ones."""
    seen = summary.get("seen", {}).get(model)
    if seen is not None:
        text = f"{seen} of {summary['questions']} questions are about documents it was trained on"
        yield Rule("unseen", "fail" if seen else "pass", text)


def _decided_already(evaluation_dir: Path, shelf: Registry, judged_by: dict[str, Any]) -> dict[str, Any] | None:
    """The decision that made the present champion of this very evaluation: held against itself it would be refused."""
    path = evaluation_dir / "decision.json"
    before = read_json(path) if path.is_file() else {}
    champion = shelf.champion or {}
    promoted = before.get("decision") == "promote" and champion.get("evaluation") == str(evaluation_dir.resolve())
    same = all(before.get(name) == value for name, value in judged_by.items())
    return dict(before) if promoted and same else None


def _decision(judged: dict[str, list[Rule]], summary: dict[str, Any], champion: str) -> dict[str, Any]:
    verdicts = {model: _verdict(rules) for model, rules in judged.items()}
    order = ("promote", "cannot_tell", "refuse")

    def rank(model: str) -> tuple[int, float]:
        rate = summary["models"][model]["rates"]["hallucination"]["rate"]
        return order.index(verdicts[model]), 1.0 if rate is None else rate

    if not judged:
        nobody: dict[str, Any] = {"decision": "refuse", "model": None, "champion": champion, "challengers": {}}
        reason = "no adapter was evaluated beside the champion"
        return nobody | {"reason": reason, "more_questions": None, "rules": []}
    best = min(judged, key=rank)
    rules = judged[best]
    more = max((rule.more_questions or 0 for rule in rules if rule.outcome == "unknown"), default=0) or None
    return {
        "decision": verdicts[best],
        "model": best,
        "champion": champion,
        "reason": _reason(best, champion, verdicts[best], rules, more),
        "more_questions": more if verdicts[best] == "cannot_tell" else None,
        "rules": [asdict(rule) for rule in rules],
        "challengers": {m: {"decision": verdicts[m], "rules": [asdict(r) for r in judged[m]]} for m in judged},
    }


def _verdict(rules: list[Rule]) -> str:
    outcomes = {rule.outcome for rule in rules}
    return "refuse" if "fail" in outcomes else "cannot_tell" if "unknown" in outcomes else "promote"


def _reason(model: str, champion: str, verdict: str, rules: list[Rule], more: int | None) -> str:
    if verdict == "promote":
        better = next((rule.text for rule in rules if rule.name in ("better", "no_worse")), "")
        return f"{model} replaces {champion}: {better}"
    if verdict == "refuse":
        return f"{model} may not replace {champion}: " + "; ".join(
            f"{rule.name} ({rule.text})" for rule in rules if rule.outcome == "fail"
        )
    ask = f"ask about {more} more questions" if more else "the difference is too near to the limit for any number"
    open_rules = ", ".join(rule.name for rule in rules if rule.outcome == "unknown")
    return f"cannot tell whether {model} may replace {champion} ({open_rules}): {ask}"
