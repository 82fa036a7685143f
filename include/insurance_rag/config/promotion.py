"""When an adapter may replace the champion."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.config_base import Config


class PromotionConfig(Config):
    """When an adapter may replace the champion."""

    champion: str = "Base"
    """The model a challenger is held against where the registry has none."""
    margin: float = Field(default=0.03, ge=0, lt=1)
    """A challenger is "no worse" if, with confidence, it hallucinates at most this much more than the champion."""
    must_improve: bool = True
    """Being no worse is not enough: fewer hallucinations, with confidence."""
    max_false_refusal: float = Field(default=0.10, ge=0, le=1)
    """Upper end of the interval of refusals where the clause had the answer."""
    max_missed_refusal: float = Field(default=0.50, ge=0, le=1)
    """Upper end of the interval of answers where the policy has none."""
    max_empty: float = Field(default=0.05, ge=0, le=1)
    """Upper end of the interval of empty answers: who says nothing makes nothing up."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_questions: int = Field(default=50, ge=1)
    """Fewer are never enough to decide."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Of the number of further questions that "cannot tell" asks for."""
