"""Settings of the promotion gate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.registry import Choice

DEFAULT_LIMITS: dict[str, float | None] = {"false_refusal": 0.10, "empty": 0.05, "missed_refusal": 0.50}


class PromotionConfig(Config):
    """When an adapter may replace the champion."""

    champion: str = "Base"
    """The model to beat if the registry has no champion yet."""
    metric: Annotated[str, Choice("metric")] = "hallucination"
    """The metric in which challenger and champion are compared."""
    margin: float = Field(default=0.03, ge=0, lt=1)
    """A challenger is "no worse" if the whole confidence interval of its difference to the champion is below this."""
    must_improve: bool = True
    """Being no worse is not enough: the challenger must be better, with confidence."""
    limits: dict[Annotated[str, Choice("metric")], Annotated[float, Field(ge=0, le=1)] | None] = Field(
        default=DEFAULT_LIMITS
    )
    """Metric -> limit that its confidence interval must respect: an upper limit if lower is better, else a lower limit.
    Limits that are not given keep their defaults; null removes one."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of all intervals, before the correction for several challengers."""
    min_questions: int = Field(default=50, ge=1)
    """With fewer questions the gate never promotes."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Power with which the recommended number of further questions would settle an open rule."""

    @field_validator("limits", mode="after")
    @classmethod
    def _with_defaults(cls, limits: dict[str, float | None]) -> dict[str, float | None]:
        """Add the default limits of the metrics that are not given; they come first, in their usual order."""
        return {**DEFAULT_LIMITS, **limits}
