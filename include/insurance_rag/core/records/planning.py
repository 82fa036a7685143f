"""Records of the planning stage that other stages and the command line read."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record


class PartitionCheck(Record):
    """Counts that show whether every chunk is in exactly one shard."""

    chunks: int = Field(description="number of chunks in the run")
    assigned: int = Field(description="number of chunk ids in all shards together")
    each_in_exactly_one_shard: bool
    chunk_ids_sha256: str = Field(description="hash of the sorted chunk ids")


class Refresh(Record):
    """What changed since the newest earlier run, and how many calls are saved by reusing answers."""

    previous: list[str] = Field(description="folders of the earlier runs, newest first")
    added: int
    changed: int
    removed: int = Field(description="number of chunks that no longer exist and whose pairs are therefore not reused")
    calls_saved: int = Field(description="number of chunks whose answers are reused")
    kept_from: dict[str, int] = Field(
        default_factory=dict, description="earlier teacher model -> number of its answers that are reused as they are"
    )


class GenerationEstimate(Record):
    """What generating the missing answers of a run is expected to need. Reused answers cost nothing."""

    model: str = Field(description="name of the teacher's model")
    chunks: int = Field(description="number of chunks to request")
    reused: int = Field(description="number of chunks that need no call, because their answers exist already")
    calls: int = Field(description="number of requests, including repairs")
    tokens_in: int
    tokens_out: int
    cost_usd: float | None = Field(description="None if the model has no price")
    seconds: float | None = Field(description="duration at the configured quotas; None if a quota is not configured")
    repair_share: float = Field(description="assumed fraction of the chunks that need a repair call")


class ShardSummary(Record):
    """Summary of one shard in the result of `plan`."""

    shard: int
    label: str
    chunks: int


class PlanArtifact(Artifact):
    """A run's plan and a summary of its content."""

    plan_id: str
    rows: int = Field(description="number of chunks in the run")
    shards: list[ShardSummary]
    partition: PartitionCheck
    refresh: Refresh | None = None
    estimate: GenerationEstimate | None = None
