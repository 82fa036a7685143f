"""Usage of a run: how many calls were made, how they ended, how many tokens they used, and what they cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Usage(BaseModel):
    """Usage counts for one shard, one API key or a whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int = Field(default=0, ge=0, description="number of requests sent, not counting batch mode")
    answers: int = Field(default=0, ge=0, description="number of usable answers, including those from batch mode")
    chunks_answered: int = Field(default=0, ge=0, description="number of chunks that got a first answer")
    pairs_accepted: int = Field(
        default=0, ge=0, description="number of pairs, including repaired ones, in which the pair check found no fault"
    )
    tokens_in: int = Field(default=0, ge=0)
    tokens_out: int = Field(default=0, ge=0, description="number of output tokens, including thinking tokens")
    requests_429: int = Field(default=0, ge=0, description="number of calls that a quota rejected")
    retries: int = Field(default=0, ge=0, description="number of calls that repeat an earlier one")
    faults: int = Field(default=0, ge=0, description="number of calls that ended in any error except a 429")
    blocked: int = Field(default=0, ge=0, description="number of `faults` that quarantined a chunk at once")
    cost_usd: float = Field(default=0.0, ge=0, description="cost; 0 for a model without a price")
    repair_calls: int = Field(default=0, ge=0, description="number of `calls` that requested a repair")
    repair_pairs_accepted: int = Field(default=0, ge=0, description="part of `pairs_accepted` that repairs brought")
    repair_cost_usd: float = Field(default=0.0, ge=0, description="part of `cost_usd` that was spent on repairs")
    other_model_answers: int = Field(
        default=0, ge=0, description="number of `answers` by another model than the one that was requested"
    )


class RunUsage(BaseModel):
    """RUN/parts/usage.json: usage of a run, in total and per API key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="name of the teacher's model")
    total: Usage
    keys: dict[str, Usage] = Field(description="usage by key id")
    models: dict[str, int] = Field(
        default_factory=dict, description="number of answers by model, as the server reported it"
    )
    cost_per_accepted_pair_usd: float | None = Field(
        default=None, ge=0, description="None if no pair was accepted, or if the model has no price"
    )
    calls_saved: int = Field(default=0, ge=0, description="number of chunks with answers reused from earlier runs")
