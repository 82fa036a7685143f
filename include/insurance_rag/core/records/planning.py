"""Records of the planning stage that other stages and the command line read."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record


class PartitionCheck(Record):
    """What was counted to check that each chunk is in exactly one shard."""

    chunks: int = Field(description="chunks of the run")
    assigned: int = Field(description="chunk ids in all shards")
    each_in_exactly_one_shard: bool
    chunk_ids_sha256: str = Field(description="hash of the sorted chunk ids")


class Refresh(Record):
    """What answers of earlier runs save in this one."""

    previous: list[str] = Field(description="folders of the earlier runs, newest first")
    added: int
    changed: int
    removed: int = Field(description="chunks that no longer exist; their pairs are retired")
    calls_saved: int = Field(description="chunks whose answers are reused")


class ShardSummary(Record):
    """One shard in the result of `plan`."""

    shard: int
    label: str
    chunks: int


class PlanArtifact(Artifact):
    """The plan of a run and what it contains."""

    plan_id: str
    rows: int = Field(description="chunks of the run")
    shards: list[ShardSummary]
    partition: PartitionCheck
    refresh: Refresh | None = None
