"""Settings of the promotion gate, which decides whether a new adapter goes into service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.registry import Choice

DEFAULT_LIMITS: dict[str, float | None] = {"false_refusal": 0.10, "empty": 0.05, "missed_refusal": 0.50}


class PromotionConfig(Config):
    """Settings that decide when an adapter (the challenger) may replace the one in service (the champion)."""

    champion: str = "Base"
    """Model to beat if the registry has no champion yet."""
    metric: Annotated[str, Choice("metric")] = "hallucination"
    """Metric on which challenger and champion are compared."""
    margin: float = Field(default=0.03, ge=0, lt=1)
    """Largest difference by which a challenger may be worse than the champion and still count as "no worse". The whole
    confidence interval for the difference must be within this margin."""
    must_improve: bool = True
    """Require the challenger to be significantly better than the champion. If false, being no worse is enough."""
    limits: dict[Annotated[str, Choice("metric")], Annotated[float, Field(ge=0, le=1)] | None] = Field(
        default=DEFAULT_LIMITS
    )
    """Limit for each metric: an upper limit if lower is better, otherwise a lower limit. The metric's whole confidence
    interval must satisfy the limit. Metrics that are not listed keep their default limits; null removes a limit."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence level of all intervals, before the correction for multiple challengers."""
    min_questions: int = Field(default=50, ge=1)
    """Minimum number of questions. With fewer, the gate never promotes."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Statistical power. If a rule's outcome is unknown, the gate recommends a number of additional questions.
    `power` is the probability that the outcome is known after that many questions."""

    @field_validator("limits", mode="after")
    @classmethod
    def _with_defaults(cls, limits: dict[str, float | None]) -> dict[str, float | None]:
        """Add the default limits for metrics that are not given. The defaults come first, in their usual order."""
        return {**DEFAULT_LIMITS, **limits}
