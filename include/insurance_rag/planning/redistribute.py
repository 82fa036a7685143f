"""What dead keys left over, planned again over the healthy ones."""

from __future__ import annotations

import time
from collections.abc import Sequence

from insurance_rag.core.locks import is_held
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, make_shard, quota_shares, read_plan, save_plan, share_of_pool, slice_sizes
from insurance_rag.planning.work_items import missing_by_shard
from insurance_rag.rate_limit import admission
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.rate_limit.state import RateLimitState


def plan_redistributed(run: RunFolder, keys: Sequence[ApiKey]) -> list[Shard]:
    """Move the open chunks of dead keys to new shards of healthy keys; returns the extra shards that wait for work.

    A key is dead when it was refused, its project has no quota for the model, or its day is used up. The plan goes on
    holding each chunk exactly once. A shard that failed otherwise keeps its chunks: the same command resumes it.
    Nothing is moved where no healthy key is left.
    """
    plan = read_plan(run)
    missing = {
        number: {job.chunk_id for job in jobs}
        for number, jobs in missing_by_shard(run, plan, GenerationJournal(run.journal)).items()
    }
    pace = read_rate_limit_state(run.rate_limit_log)
    healthy = [key for key in keys if is_healthy(key, pace)]
    alive = {key.id for key in healthy}
    dead = [s for s in plan.shards if s.shard in missing and s.key_id not in alive and not is_held(run.lock(s.shard))]
    extra = {number for numbers in plan.moved.values() for number in numbers}
    waiting = [s for s in plan.shards if s.shard in extra and s.shard in missing and s.key_id in alive]
    if not dead or not healthy:
        return waiting
    moved = _move(plan, dead, missing, healthy)
    save_plan(moved, run)
    return waiting + moved.shards[len(plan.shards) :]


def is_healthy(key: ApiKey, pace: RateLimitState) -> bool:
    if key.id not in pace.keys:
        return True  # never tried in this run
    ask = admission.SendRequest(shard=0, key=key.id, pool=key.pool, share=1.0, chars=0)
    return admission.stop(pace, ask, time.time()) is None


def _move(plan: Plan, dead: list[Shard], missing: dict[int, set[str]], healthy: list[ApiKey]) -> Plan:
    """Cut what is open out of the dead shards, and into new shards behind the last number."""
    ids = [i for shard in dead for i in shard.chunk_ids if i in missing[shard.shard]]
    sizes = slice_sizes(len(ids), quota_shares(healthy))
    used = [(key, size) for key, size in zip(healthy, sizes, strict=True) if size]
    of, new, start = len(plan.shards) + len(used), [], 0
    for number, (key, size) in enumerate(used, len(plan.shards) + 1):
        new.append(make_shard(number, of, key, share_of_pool(key, healthy), ids[start : start + size]))
        start += size
    gone = {shard.shard: missing[shard.shard] for shard in dead}
    kept = [
        shard.model_copy(update={"chunk_ids": [i for i in shard.chunk_ids if i not in gone.get(shard.shard, ())]})
        for shard in plan.shards
    ]
    moved = {**plan.moved, **{number: [s.shard for s in new] for number in gone}}
    return plan.model_copy(update={"shards": kept + new, "moved": moved})
