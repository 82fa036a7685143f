"""What the calls of a run were: how many, how they ended, how many tokens they used and what they cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Usage(BaseModel):
    """Counts of one shard, of one API key or of a whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int = Field(default=0, ge=0, description="requests sent; a batch of batch mode is not counted")
    answers: int = Field(default=0, ge=0, description="usable answers, those of batch mode included")
    tokens_in: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0, description="thinking tokens included")
    requests_429: int = Field(default=0, ge=0, description="calls that a quota rejected")
    retries: int = Field(default=0, ge=0, description="calls that repeat an earlier one")
    faults: int = Field(default=0, ge=0, description="calls that ended in any other error")
    blocked: int = Field(default=0, ge=0, description="the part of `faults` that quarantined its chunk at once")
    cost_usd: float = Field(default=0.0, ge=0, description="by the configured prices; 0 for a model without a price")
    repair_calls: int = Field(default=0, ge=0, description="the part of `calls` that asked for faulty pairs again")
    repair_cost_usd: float = Field(default=0.0, ge=0, description="the part of `cost_usd` that repairs cost")


class RunUsage(BaseModel):
    """RUN/parts/usage.json: the usage of a run, in total and per API key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="model of the teacher")
    total: Usage
    keys: dict[str, Usage] = Field(description="usage by the id of the key")
    calls_saved: int = Field(default=0, ge=0, description="chunks whose answers were reused from earlier runs")
