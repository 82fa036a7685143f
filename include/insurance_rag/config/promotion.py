"""Settings of the promotion gate, which decides whether a new adapter goes into service.

The file `insurance_rag/promotion/policy.yaml` holds every setting with its default and the reason for it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.registry import Choice

DEFAULT_MARGINS: dict[str, float | None] = {
    "correct": 0.05,
    "hallucination": 0.05,
    "false_refusal": 0.10,
    "missed_refusal": 0.10,
    "number_accuracy": 0.10,
}
DEFAULT_LIMITS: dict[str, float | None] = {
    "correct": 0.60,
    "hallucination": 0.20,
    "raw_hallucination": 0.30,
    "false_refusal": 0.20,
    "missed_refusal": 0.30,
    "empty": 0.05,
}

Fraction = Annotated[float, Field(ge=0, le=1)]
Margin = Annotated[float, Field(ge=0, lt=1)]
MetricName = Annotated[str, Choice("metric")]


class PromotionConfig(Config):
    """Settings that decide when an adapter (the challenger) may replace the one in service (the champion)."""

    champion: str = "Base"
    """Model to beat if the registry has no champion yet."""
    metric: MetricName = "correct"
    """Metric in which the challenger must be better than the champion."""
    must_improve: bool = True
    """Require the challenger to be significantly better in `metric`. If false, it is enough that it is no worse by more
    than the margin of `metric`."""
    margins: dict[MetricName, Margin | None] = Field(default=DEFAULT_MARGINS)
    """Margin for each metric: by how much the challenger's rate may be worse than the champion's and still count as "no
    worse". The whole confidence interval for the difference must be within the margin. If an improvement is required,
    the margin of `metric` has another meaning: a challenger whose advantage is certainly smaller than that is refused
    because both are equally good. Metrics that are not listed keep their default margins; null removes a margin."""
    limits: dict[MetricName, Fraction | None] = Field(default=DEFAULT_LIMITS)
    """Limit for each metric: an upper limit if lower is better, otherwise a lower limit. The metric's whole confidence
    interval must satisfy the limit. Metrics that are not listed keep their default limits; null removes a limit."""
    general_perplexity_ratio: float | None = Field(default=None, gt=0)
    """Limit for forgetting: by which factor the challenger's perplexity on general text may exceed that of the base
    model, e.g. 1.1. The whole confidence interval must satisfy it. It needs `general_text` in the evaluation. None: no
    such rule."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence level of all intervals, before the correction for multiple challengers."""
    repeated_looks: Literal["warn", "adjust"] = "warn"
    """What to do if the registry has earlier decisions on the same questions. warn: report their number and the chance
    of a wrong promotion; adjust: also use wider intervals, so that this chance stays the same for all decisions
    together."""
    min_questions: int = Field(default=200, ge=1)
    """Minimum number of questions. With fewer, the gate never promotes."""
    min_judged: Fraction = 0.95
    """Minimum fraction of the answerable questions for which it can be judged whether the answer is correct. With
    fewer, e.g. because questions have no reference answer, the gate never promotes."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Statistical power. If a rule's outcome is unknown, the gate recommends a number of additional questions.
    `power` is the probability that the outcome is known after that many questions."""

    @field_validator("margins", mode="after")
    @classmethod
    def _with_default_margins(cls, margins: dict[str, float | None]) -> dict[str, float | None]:
        """Add the default margins for metrics that are not given. The defaults come first, in their usual order."""
        return {**DEFAULT_MARGINS, **margins}

    @field_validator("limits", mode="after")
    @classmethod
    def _with_default_limits(cls, limits: dict[str, float | None]) -> dict[str, float | None]:
        """Add the default limits for metrics that are not given. The defaults come first, in their usual order."""
        return {**DEFAULT_LIMITS, **limits}

    @model_validator(mode="after")
    def _must_compare_something(self) -> Self:
        """Require a margin for `metric` if no improvement is required."""
        if not self.must_improve and self.margins.get(self.metric) is None:
            raise ValueError(
                f"margins: no margin for {self.metric}, but must_improve is false; set margins.{self.metric} or "
                "must_improve: true"
            )
        return self
