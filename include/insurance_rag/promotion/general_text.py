"""The optional rule of the gate against forgetting: the challenger's perplexity on general text."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag.config import PromotionConfig
from insurance_rag.core.records import EvaluationSummary, Outcome, RuleOutcome
from insurance_rag.core.records.general_text import GeneralText, PerplexityRatio
from insurance_rag.core.stats import perplexity_ratio
from insurance_rag.promotion.outcomes import rule

GENERAL_TEXT = "general_text"
"""Name of the rule."""


def general_text_rule(
    model: str, summary: EvaluationSummary, policy: PromotionConfig, confidence: float
) -> Iterator[RuleOutcome]:
    """Yield the outcome of the rule `general_text`, or nothing if the policy has no limit for the perplexity ratio.

    The challenger is compared with the base model, whichever model is the champion. The outcome is unknown if the
    interval contains the limit, or if the perplexity was not measured.
    """
    limit = policy.general_perplexity_ratio
    if limit is None:
        return
    measured = summary.general_text
    found = _ratio(measured, model, confidence) if measured else None
    if measured is None or found is None or found.low is None or found.high is None:
        text = "not measured on two windows of text or more; evaluate again with general_text"
        text_ko = "두 구간 이상의 일반 텍스트에서 측정하지 않았습니다. general_text를 지정해 다시 평가하십시오."
        yield rule(GENERAL_TEXT, "unknown", text, text_ko=text_ko)
        return
    outcome: Outcome = "pass" if found.high <= limit else "fail" if found.low > limit else "unknown"
    interval, n = f"[{found.low:.3f}, {found.high:.3f}]", len(measured.window_tokens)
    yield rule(
        GENERAL_TEXT,
        outcome,
        f"perplexity {found.ratio:.3f} times that of the base model {interval}, {n} windows; at most {limit:g} allowed",
        text_ko=f"퍼플렉시티가 기본 모델의 {found.ratio:.3f}배 {interval}, 구간 {n}개, 최대 {limit:g}배 허용",
    )


def _ratio(measured: GeneralText, model: str, confidence: float) -> PerplexityRatio | None:
    """Return the ratio with its interval at this confidence level; None if the model was not measured."""
    own = measured.models.get(model)
    base = next((found for found in measured.models.values() if found.against_base is None), None)
    if own is None or base is None:
        return None
    return perplexity_ratio(own.losses, base.losses, measured.window_tokens, confidence)
