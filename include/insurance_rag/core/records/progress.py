"""The state of a running stage, as its progress file shows it to other processes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ProgressFigure = float | int | str | None


class ProgressState(BaseModel):
    """One progress file: how far one stage or one shard is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    label: str
    """Which part of the stage, e.g. `shard 3/7 · gemini_k4`; empty if the stage has one part."""
    state: Literal["running", "done", "failed"]
    done: int
    total: int
    unit: str
    """What is counted: chunks, steps, questions ..."""
    rate_per_min: float
    """Units per minute since this process started; work of earlier processes is not counted."""
    eta_s: int | None
    """Estimated seconds until `total`; None if the rate is not known yet."""
    updated: float
    """Unix time of the last change."""
    figures: dict[str, ProgressFigure] = Field(default_factory=dict)
    """Further figures: loss, tokens_per_s, requests_429, and `error` after a failure."""
