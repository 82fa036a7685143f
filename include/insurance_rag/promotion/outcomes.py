"""Build the outcomes of the gate's rules, with their titles in both languages."""

from __future__ import annotations

from insurance_rag.core.metrics import Metric
from insurance_rag.core.records import Outcome, RuleFigures, RuleOutcome
from insurance_rag.core.registry import Registry, registry

TITLES = {
    "same_questions": ("Same questions", "같은 질문"),
    "enough_questions": ("Enough questions", "질문 수"),
    "judged": ("Answers can be judged", "채점 가능한 답"),
    "uncontaminated": ("Not trained on what the questions are about", "질문의 문서·절을 학습하지 않음"),
    "repeated_looks": ("Decisions on these questions", "같은 질문으로 내린 판정"),
    "general_text": ("General text not forgotten", "일반 텍스트 능력 유지"),
    "better": ("Better than the champion", "챔피언보다 나음"),
}
"""Maps rule names to (English title, Korean title). A rule about a metric is named after the metric."""

NO_WORSE = "no_worse."
"""Prefix of the names of the rules that compare a metric with the champion, e.g. `no_worse.hallucination`."""


def metrics() -> Registry[Metric]:
    """Return the registry of metrics, which the gate shares with the evaluation."""
    found: Registry[Metric] = registry("metric")
    return found


def rule(
    name: str,
    outcome: Outcome,
    text: str,
    more_questions: int | None = None,
    figures: RuleFigures | None = None,
    text_ko: str | None = None,
) -> RuleOutcome:
    """Return the outcome of the rule `name`: one of `TITLES`, a metric's limit, or its comparison with the champion."""
    title, title_ko = _titles(name)
    return RuleOutcome(
        name=name,
        title=title,
        title_ko=title_ko,
        outcome=outcome,
        text=text,
        text_ko=text_ko,
        figures=figures,
        more_questions=more_questions,
    )


def _titles(name: str) -> tuple[str, str]:
    if name in TITLES:
        return TITLES[name]
    metric = metrics()[name.removeprefix(NO_WORSE)]
    if name.startswith(NO_WORSE):
        return f"{metric.title}: no worse than the champion", f"{metric.title_ko}: 챔피언보다 나쁘지 않음"
    return metric.title, metric.title_ko
