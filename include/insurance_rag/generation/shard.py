"""Generate one shard: set up the journal, rate limiter and teacher, run the worker, and write the part file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing

from insurance_rag.config import GenerationConfig
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.records.generation import PartArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.parts import finish_part
from insurance_rag.generation.repair import PairCheck
from insurance_rag.generation.teachers.registry import make_teacher
from insurance_rag.generation.usage import budget_guard, summarize_shard_usage, write_usage
from insurance_rag.generation.worker import OnUpdate, ShardInputs, Worker
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, check_run_chunks, read_work_items
from insurance_rag.rate_limit.limiter import Limiter


def generate_shard(
    run: RunFolder,
    shard: Shard | int,
    key: ApiKey,
    config: GenerationConfig | None = None,
    on_update: OnUpdate | None = None,
    pair_check: PairCheck | None = None,
) -> PartArtifact:
    """Generate the pairs for one shard and return its part. To resume an interrupted shard, call this function again.

    If `config.repair` is set, `pair_check` looks for faulty pairs in the first answers. Once every chunk has a first
    answer, the faulty pairs are requested again. If the quota or the budget does not cover every repair, the shard
    still counts as complete, and the unrepaired chunks are counted in `pending_repairs`.

    Raises KeyRejectedError, QuotaExhaustedError, BudgetExceededError or IncompleteError if the shard stops before it is
    complete; its answers are kept. Raises InvalidInputError if the input or the settings are invalid.
    """
    plan = read_plan(run)
    check_run_chunks(run, plan)
    run.create()
    chosen = plan.shard(shard if isinstance(shard, int) else shard.shard)
    config = config or plan.config
    items = list(read_work_items(run, PromptSpec.from_config(config), set(chosen.chunk_ids)))
    return asyncio.run(run_shard(run, plan, chosen, items, key, config, on_update, pair_check))


async def run_shard(
    run: RunFolder,
    plan: Plan,
    shard: Shard,
    items: Sequence[WorkItem],
    key: ApiKey,
    config: GenerationConfig,
    on_update: OnUpdate | None = None,
    pair_check: PairCheck | None = None,
) -> PartArtifact:
    """Generate one shard like `generate_shard`, but with a plan and work items that the caller has read and checked.

    Several shards can run concurrently in one event loop.
    """
    items = list(items)
    with (
        hold_lock(run.lock(shard.shard), shard.label),
        GenerationJournal(run.journal, shard.shard) as journal,
        closing(Limiter(run.rate_limit_log, shard, key, config, budget_guard(config))) as limiter,
    ):
        teacher = make_teacher(config, key)
        try:
            with Progress(
                "generate",
                shard.label,
                total=len(items),
                done=sum(item.cache_key in journal for item in items),
                unit="chunks",
                folder=run.progress,
                on_update=on_update,
            ) as progress:
                inputs = ShardInputs(run, shard, items, config, pair_check)
                worker = Worker(inputs, journal, limiter, teacher, progress)
                await worker.run()
                write_usage(run, plan, limiter.state, config)
                worker.check_complete()
        finally:
            await teacher.close()
        return finish_part(run, plan, shard, items, journal, summarize_shard_usage(limiter.state, shard.shard, config))
