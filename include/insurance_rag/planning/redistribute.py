"""Redistribute the unanswered chunks of dead API keys among the healthy keys."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from insurance_rag.core.locks import is_locked
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, read_plan, save_plan
from insurance_rag.planning.shards import make_shards
from insurance_rag.planning.work_items import missing_work_items
from insurance_rag.rate_limit.admission import SendRequest, blocking_error
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.rate_limit.state import RateLimitState


def plan_redistributed(run: RunFolder, keys: Sequence[ApiKey]) -> list[Shard]:
    """Move the unanswered chunks of dead keys into new shards for healthy keys, and return the new shards.

    A key is dead if the API rejected it, if its project has no quota for the model, or if its daily quota is used up.
    A shard that failed for another reason keeps its chunks, because it is resumed when the same command is run again.
    If no key is healthy, nothing is moved. Unfinished shards from earlier redistributions are returned too.
    """
    plan = read_plan(run)
    with GenerationJournal(run.journal) as journal:
        open_items = missing_work_items(run, plan, journal)
    open_chunks = {number: {item.chunk_id for item in items} for number, items in open_items.items()}
    state = read_rate_limit_state(run.rate_limit_log)
    healthy = [key for key in keys if is_healthy(key, state)]
    healthy_ids = {key.id for key in healthy}
    unfinished = [shard for shard in plan.shards if shard.shard in open_chunks]
    dead = [s for s in unfinished if s.key_id not in healthy_ids and not is_locked(run.lock(s.shard))]
    earlier = {number for numbers in plan.reassigned_to.values() for number in numbers}
    waiting = [s for s in unfinished if s.shard in earlier and s.key_id in healthy_ids]
    if not dead or not healthy:
        return waiting
    changed = _move_open_chunks(plan, dead, open_chunks, healthy)
    save_plan(changed, run)
    return waiting + changed.shards[len(plan.shards) :]


def is_healthy(key: ApiKey, state: RateLimitState) -> bool:
    """Return whether the key may send calls. A key that has not been used in this run counts as healthy."""
    if key.id not in state.keys:
        return True
    request = SendRequest(shard=0, key=key.id, pool=key.pool, share=1.0, chars=0)
    return blocking_error(state, request, time.time()) is None


def _move_open_chunks(
    plan: Plan, dead: Sequence[Shard], open_chunks: Mapping[int, set[str]], healthy: Sequence[ApiKey]
) -> Plan:
    """Return a copy of the plan in which new shards hold the dead shards' unanswered chunks.

    The new shards are numbered after the existing ones.
    """
    moved_ids = [i for shard in dead for i in shard.chunk_ids if i in open_chunks[shard.shard]]
    new = make_shards(moved_ids, healthy, first_number=len(plan.shards) + 1)
    removed = {shard.shard: open_chunks[shard.shard] for shard in dead}
    kept = [
        shard.model_copy(update={"chunk_ids": [i for i in shard.chunk_ids if i not in removed.get(shard.shard, ())]})
        for shard in plan.shards
    ]
    reassigned = {**plan.reassigned_to, **{number: [shard.shard for shard in new] for number in removed}}
    return plan.model_copy(update={"shards": kept + new, "reassigned_to": reassigned})
