"""Find healthy keys that can answer the chunks that other keys left unanswered."""

from __future__ import annotations

import time
from collections.abc import Sequence

from insurance_rag.core.errors import PipelineError
from insurance_rag.core.locks import is_locked
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.claims import open_shards
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import read_plan
from insurance_rag.planning.work_items import missing_work_items
from insurance_rag.rate_limit.admission import SendRequest, blocking_error
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.rate_limit.state import RateLimitState


def plan_redistributed(run: RunFolder, keys: Sequence[ApiKey]) -> list[Shard]:
    """Return the shards of healthy keys whose workers can answer the chunks that are still missing.

    While workers run, they answer chunks of dead and slower keys by themselves. Chunks are left if all workers of
    healthy keys had ended before. After this function, the workers of the returned shards answer every missing chunk,
    even of shards that were never started.

    A key is dead if the API rejected it, if its project has no quota for the model, or if its daily quota is used up.
    Returns no shard if nothing is missing, or if no key is healthy. Shards that a process is working on are left to it.
    """
    plan = read_plan(run)
    with GenerationJournal(run.journal) as journal:
        missing = missing_work_items(run, plan, journal)
    unattended = [number for number in missing if not is_locked(run.lock(number))]
    state = read_rate_limit_state(run.rate_limit_log)
    healthy_ids = {key.id for key in keys if is_healthy(key, state)}
    shards_of_key = {shard.key_id: shard for shard in reversed(plan.shards) if shard.key_id in healthy_ids}
    helpers = sorted(shards_of_key.values(), key=lambda shard: shard.shard)
    if not unattended or not helpers:
        return []
    open_shards(run, unattended)
    return [shard for shard in helpers if not is_locked(run.lock(shard.shard))]


def is_healthy(key: ApiKey, state: RateLimitState) -> bool:
    """Return whether the key may send calls. A key that has not been used in this run counts as healthy."""
    return key_error(key, state) is None


def key_error(key: ApiKey, state: RateLimitState) -> PipelineError | None:
    """Return why the key cannot send calls (see `blocking_error`); None if it can, or has not been used in this run."""
    if key.id not in state.keys:
        return None
    request = SendRequest(shard=0, key=key.id, pool=key.pool, share=1.0, chars=0)
    return blocking_error(state, request, time.time())
