"""Generate one shard: set up the journal, rate limiter and teacher, run the worker, and write the part file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import ParamSpec, TypeVar

from insurance_rag.config import GenerationConfig
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.records.generation import PartArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.live_usage import OnUsage
from insurance_rag.generation.next_call import CallPlanner
from insurance_rag.generation.parts import finish_answered_parts, finish_part
from insurance_rag.generation.repair import PairCheck
from insurance_rag.generation.shard_work import ShardWork
from insurance_rag.generation.teachers.registry import TEACHERS, make_teacher
from insurance_rag.generation.usage import budget_guard, summarize_shard_usage, write_usage
from insurance_rag.generation.work_pool import WorkPool
from insurance_rag.generation.worker import OnUpdate, Worker
from insurance_rag.planning.claims import ClaimLog
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, check_run_chunks, work_items_by_shard
from insurance_rag.rate_limit.limiter import Limiter

log = logging.getLogger(__name__)

MAX_CLAIM_TIMEOUTS = 10.0
"""A claim lapses after this many timeouts of a call. The largest calls may take about five."""
LOCK_WAIT_S = 2.0
"""Other workers look at a shard's lock for an instant, to see whether its worker is alive. This wait outlasts that."""

T = TypeVar("T")
Params = ParamSpec("Params")


def generate_shard(
    run: RunFolder,
    shard: Shard | int,
    key: ApiKey,
    config: GenerationConfig | None = None,
    on_update: OnUpdate | None = None,
    pair_check: PairCheck | None = None,
    on_usage: OnUsage | None = None,
) -> PartArtifact:
    """Generate the pairs for one shard and return its part. To resume an interrupted shard, call this function again.

    When the worker has no chunks left, it answers open chunks of other started shards, unless `config.redistribute` is
    false. The part contains the shard's own chunks, whichever key answered them.

    If `config.repair` is set, `pair_check` looks for faulty pairs in the first answers. Once every chunk has a first
    answer, the faulty pairs are requested again. If the quota or the budget does not cover every repair, the shard
    still counts as complete, and the unrepaired chunks are counted in `pending_repairs`.

    Raises KeyRejectedError, QuotaExhaustedError, BudgetExceededError or IncompleteError if the shard stops before it is
    complete; its answers are kept. Raises RepairsPendingError if it is complete, but an error that may be over by now
    prevented its repairs. Raises InvalidInputError if the input or the settings are invalid.
    """
    plan = read_plan(run)
    check_run_chunks(run, plan)
    run.create()
    chosen = plan.shard(shard if isinstance(shard, int) else shard.shard)
    config = config or plan.config
    served = plan.shards if config.redistribute else [chosen]
    items = work_items_by_shard(run, PromptSpec.from_config(config), served)
    return asyncio.run(run_shard(run, plan, chosen, items, key, config, on_update, pair_check, on_usage))


async def run_shard(
    run: RunFolder,
    plan: Plan,
    shard: Shard,
    items_by_shard: Mapping[int, list[WorkItem]],
    key: ApiKey,
    config: GenerationConfig,
    on_update: OnUpdate | None = None,
    pair_check: PairCheck | None = None,
    on_usage: OnUsage | None = None,
) -> PartArtifact:
    """Generate one shard like `generate_shard`, but with a plan and work items that the caller has read and checked.

    `items_by_shard` has the items of the shard itself and of all shards that its worker may help. Several shards can
    run concurrently in one event loop. The key's present project counts, not the one that it had when the run was
    planned.
    """
    shard = shard.model_copy(update={"pool": key.pool})
    items, guard = items_by_shard[shard.shard], budget_guard(config)
    with (
        hold_lock(run.lock(shard.shard), shard.label, LOCK_WAIT_S),
        GenerationJournal(run.journal, shard.shard) as journal,
        closing(ClaimLog(run, shard.shard, MAX_CLAIM_TIMEOUTS * config.timeout_s)) as claims,
        closing(Limiter(run.rate_limit_log, shard, key, config, guard)) as limiter,
    ):
        teacher = make_teacher(config, key)
        pool = WorkPool(shard.shard, items_by_shard, journal, claims)
        repairs = pair_check if config.repair and TEACHERS[config.teacher].supports_repair else None
        planner = CallPlanner(run, shard, config, journal, pool, teacher, guard, repairs_enabled=repairs is not None)
        done = sum(item.cache_key in journal for item in items)
        try:
            with Progress(
                "generate", shard.label, total=len(items), done=done, unit="chunks", folder=run.progress,
                on_update=on_update,
            ) as progress:  # fmt: skip
                worker = Worker(
                    ShardWork(
                        run, shard, items, config, repairs, journal, pool, limiter, teacher, planner, progress, on_usage
                    )
                )
                await worker.run()
                state = limiter.state
                write_usage(run, plan, state, config)
                worker.check_complete()
        finally:
            await teacher.close()
            await _in_thread(
                finish_answered_parts,
                run,
                plan,
                items_by_shard,
                lambda number: summarize_shard_usage(limiter.state, number, config),
            )
        usage = summarize_shard_usage(state, shard.shard, config)
        part = await _in_thread(finish_part, run, plan, shard, items_by_shard, journal, usage)
        _log_moved_chunks(part)
        worker.check_repairs()
        return part


def _log_moved_chunks(part: PartArtifact) -> None:
    """Log which chunks other keys answered, and how many chunks of other shards this key answered."""
    if part.moved:
        keys = ", ".join(f"{key_id} ({n})" for key_id, n in sorted(part.moved.items(), key=lambda entry: -entry[1]))
        log.info("%s: %d chunks were answered by other keys: %s", part.label, sum(part.moved.values()), keys)
    if part.helped:
        log.info("%s: answered %d chunks of other shards", part.label, part.helped)


async def _in_thread(function: Callable[Params, T], *args: Params.args, **kwargs: Params.kwargs) -> T:
    """Run a function in a thread, so that the other shards continue meanwhile.

    If the task is cancelled, wait for the function to end nevertheless, because it uses files that the caller closes.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
