"""Explain the promotion gate's decision: the reason in one sentence, and the figures of its rules."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from insurance_rag.core.records import Decision, Outcome, RuleOutcome
from insurance_rag.report import formatting
from insurance_rag.report.charts import Axis, symmetric_axis
from insurance_rag.report.texts import LANGUAGES, Language, bilingual, page_text
from insurance_rag.report.view import Evaluation, Report

DECISIVE: dict[str, Outcome] = {"promote": "pass", "refuse": "fail", "cannot_tell": "unknown"}
"""Maps a decision to the outcome of the rules that led to it."""


def explain(report: Report) -> Markup:
    """Return the reason for the promotion gate's decision, in both languages.

    The reason starts with the main metric of the challenger and the champion, and names the rules that decided. If no
    rule decided, the reason stored in the decision is returned.
    """
    decision = report.decision
    assert decision is not None, "the template calls this only if there is a decision"
    rules = [rule for rule in decision.rules if rule.outcome == DECISIVE[decision.decision]]
    if not rules:
        return escape(decision.reason)
    key = f"why_{decision.decision}" + ("_more" if decision.more_questions else "")
    sentences: dict[Language, str] = {}
    for language in LANGUAGES:
        names = ", ".join(_title(rule, language) for rule in rules)
        difference = _difference(report.evaluation, decision, language)
        more = formatting.count(decision.more_questions or 0)
        text = page_text(key, language).format(rules=names, difference=difference, more=more)
        sentences[language] = text.strip()
    return bilingual(sentences)


def _title(rule: RuleOutcome, language: Language) -> str:
    return rule.title_ko if language == "ko" else rule.title


def _difference(evaluation: Evaluation | None, decision: Decision, language: Language) -> str:
    """Return the difference in the main metric as the gate computed it, or "" if no rule compared the models in it."""
    if evaluation is None:
        return ""
    compared = [rule.figures for rule in decision.rules if rule.figures and rule.figures.champion is not None]
    figures = next((found for found in compared if found.metric == evaluation.main), None)
    if figures is None or figures.champion is None:
        return ""
    label = evaluation.label(figures.metric)
    return page_text("why_difference", language).format(
        metric=label.title_ko if language == "ko" else label.title,
        model=decision.model,
        own=formatting.percent(figures.own),
        champion=decision.champion,
        other=formatting.percent(figures.champion),
        d=formatting.points(figures.own - figures.champion),
        level=f"{100 * decision.confidence:.3g}",
        low=formatting.points(figures.low),
        high=formatting.points(figures.high),
        n=formatting.count(figures.n),
    )


def rule_text(rule: RuleOutcome) -> Markup:
    """Return the explanation of a rule's outcome, in both languages where there is a translation."""
    return bilingual({"ko": rule.text_ko, "en": rule.text}) if rule.text_ko else escape(rule.text)


def undecided(rules: Sequence[RuleOutcome]) -> list[RuleOutcome]:
    """Return the rules that did not pass."""
    return [rule for rule in rules if rule.outcome != "pass"]


def other_challengers(decision: Decision) -> dict[str, tuple[str, list[RuleOutcome]]]:
    """Return a dict: other challenger -> (decision, rules that did not pass). Only one challenger has all its rules."""
    return {
        model: (found.decision, undecided(found.rules))
        for model, found in decision.challengers.items()
        if model != decision.model
    }


def difference_rules_axis(rules: Sequence[RuleOutcome]) -> Axis:
    """Return an axis that contains the intervals and the margins of all rules that compare two models."""
    figures = [rule.figures for rule in rules if rule.figures and rule.figures.champion is not None]
    return symmetric_axis([value for found in figures for value in (found.low, found.high, found.allowed)])
