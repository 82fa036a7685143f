"""What the parts of one shard's worker share."""

from __future__ import annotations

from dataclasses import dataclass

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.live_usage import OnUsage
from insurance_rag.generation.next_call import CallPlanner
from insurance_rag.generation.repair import PairCheck
from insurance_rag.generation.teachers.base import Teacher
from insurance_rag.generation.work_pool import WorkPool
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.work_items import WorkItem
from insurance_rag.rate_limit.limiter import Limiter


@dataclass(frozen=True)
class ShardWork:
    """The shard, its settings, and the open files and connections of its worker."""

    run: RunFolder
    shard: Shard
    items: list[WorkItem]
    """The chunks of the shard. The worker may also answer chunks of other shards."""
    config: GenerationConfig
    pair_check: PairCheck | None
    """Function that finds faulty pairs; None if this run makes no repairs."""
    journal: GenerationJournal
    pool: WorkPool
    limiter: Limiter
    teacher: Teacher
    planner: CallPlanner
    progress: Progress
    on_usage: OnUsage | None = None

    def stop(self, reason: PipelineError) -> None:
        """Stop the shard. If it was stopped before, the first reason is kept."""
        self.limiter.stopped = self.limiter.stopped or reason
