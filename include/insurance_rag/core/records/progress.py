"""The state of a running stage. Other processes read this state from the stage's progress file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ProgressFigure = float | int | str | None


class ProgressState(BaseModel):
    """Content of one progress file: how far a stage or one of its shards has progressed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    label: str
    """What the stage works on, e.g. `shard 3/7 · gemini_k4`; empty if the stage is not divided."""
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
    """Name -> additional value, e.g. loss or tokens_per_s. After a failure, the entry `error` is the error message."""
