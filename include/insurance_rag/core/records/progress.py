"""The state of a running stage, which its progress file shows to other processes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ProgressFigure = float | int | str | None


class ProgressState(BaseModel):
    """Content of one progress file: how far a stage or one of its shards has progressed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    label: str
    """Name of the part of the stage, e.g. `shard 3/7 · gemini_k4`; empty if the stage has only one part."""
    state: Literal["running", "done", "failed"]
    done: int
    total: int
    unit: str
    """What is counted, e.g. chunks, steps or questions."""
    rate_per_min: float
    """Units per minute since this process started, not counting work done by earlier processes."""
    eta_s: int | None
    """Estimated number of seconds until `total` is reached; None if there is no rate yet."""
    updated: float
    """Unix time of the last update."""
    figures: dict[str, ProgressFigure] = Field(default_factory=dict)
    """Additional values, e.g. loss, tokens_per_s or requests_429, and `error` after a failure."""
