"""Generate all shards of a run in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from insurance_rag.config import GenerationConfig
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import (
    BudgetExceededError,
    IncompleteError,
    InvalidInputError,
    KeyRejectedError,
    PipelineError,
    QuotaExhaustedError,
    RepairsPendingError,
)
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.records.generation import GenerationResult, PartArtifact, PartSummary
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.parts import read_manifest
from insurance_rag.generation.repair import PairCheck
from insurance_rag.generation.shard import run_shard
from insurance_rag.generation.usage import budget_guard, write_usage
from insurance_rag.planning.plan import Plan, read_plan, with_config
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.redistribute import key_error, plan_redistributed
from insurance_rag.planning.work_items import check_run_chunks, missing_chunks, work_items_by_shard
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.rate_limit.limiter import CallSize


def generate_run(
    run: RunFolder, keys: Sequence[ApiKey], config: GenerationConfig | None = None, pair_check: PairCheck | None = None
) -> GenerationResult:
    """Generate the pairs for every shard. To resume an interrupted run, call this function again.

    For `pair_check`, see `generate_shard`.

    Raises IncompleteError if a shard is incomplete. If the quota or the budget is the cause, raises its subclass
    QuotaExhaustedError or BudgetExceededError. The message counts the missing chunks in each shard. Raises
    InvalidInputError if the input, the keys or the settings are invalid.
    """
    plan = read_plan(run)
    check_run_chunks(run, plan)
    run.create()
    if config is not None:
        plan = with_config(plan, config, run)
    config = plan.config
    failed = _generate_with_redistribution(run, plan, keys, config, pair_check)
    missing = missing_chunks(run)
    unfinished = {number: error for number, error in failed.items() if not _is_finished(run, number, error)}
    if missing or unfinished:
        raise _incomplete(missing, [*unfinished.values(), *_stop_reasons(run, keys, config, failed)])
    usage = write_usage(run, plan, read_rate_limit_state(run.rate_limit_log), config)
    parts = [read_manifest(run, shard.shard).artifact() for shard in plan.shards]
    return GenerationResult(
        **usage.model_dump(),
        uri=public_uri(run.parts),
        rows=sum(part.rows for part in parts),
        chunks=plan.chunks,
        repaired=sum(part.repaired for part in parts),
        pending_repairs=sum(part.pending_repairs for part in parts),
        quarantined=sum(part.quarantined for part in parts),
        parts=[
            PartSummary(uri=p.uri, sha256=p.sha256, rows=p.rows, shard=p.shard, label=p.label, chunks=p.chunks)
            for p in parts
        ],
    )


def _is_finished(run: RunFolder, shard: int, error: IncompleteError) -> bool:
    """Return whether other workers have finished a shard whose worker ended with an error."""
    if not manifest_path(run.part(shard)).exists():
        return False
    return not isinstance(error, RepairsPendingError) or not read_manifest(run, shard).pending_repairs


def _generate_with_redistribution(
    run: RunFolder, plan: Plan, keys: Sequence[ApiKey], config: GenerationConfig, pair_check: PairCheck | None
) -> dict[int, IncompleteError]:
    """Generate all shards, and return the errors of the shards that ended early, by shard number.

    Workers answer chunks of dead keys. If chunks are missing when all workers have ended, the workers of healthy
    keys start again.
    """
    keys_by_id = {key.id: key for key in keys}
    failed = last_failed = _generate_shards(run, plan, plan.shards, keys_by_id, config, pair_check)
    dead_keys = set[str]()
    while config.redistribute and last_failed:
        # Remember the dead keys here. When the shard of a dead key starts again, the rate limit state counts the key as
        # healthy, because the user may have replaced the key.
        dead_keys |= {
            plan.shard(number).key_id
            for number, error in last_failed.items()
            if isinstance(error, (KeyRejectedError, QuotaExhaustedError))
        }
        helpers = plan_redistributed(run, [key for key in keys if key.id not in dead_keys])
        if not helpers or any(shard.shard in last_failed for shard in helpers):
            break
        last_failed = _generate_shards(run, plan, helpers, keys_by_id, config, pair_check)
        failed |= last_failed
    return failed


def _generate_shards(
    run: RunFolder,
    plan: Plan,
    shards: Sequence[Shard],
    keys: Mapping[str, ApiKey],
    config: GenerationConfig,
    pair_check: PairCheck | None,
) -> dict[int, IncompleteError]:
    """Generate `shards` concurrently. Return the errors of the shards that ended early, by shard number.

    Raises InvalidInputError if the key of a shard is not in `keys`. If a shard fails with an error other than
    IncompleteError, raises that error.
    """
    if unknown := sorted({shard.key_id for shard in shards} - keys.keys()):
        raise InvalidInputError(
            [
                f"key {name!r} of the plan is not among the keys ({', '.join(keys)}); add it to the keys, or plan "
                "again with the same --out (answers are kept)"
                for name in unknown
            ]
        )
    items = work_items_by_shard(run, PromptSpec.from_config(config), plan.shards)

    async def run_shards() -> list[PartArtifact | BaseException]:
        workers = []
        for shard in shards:
            served = items if config.redistribute else {shard.shard: items[shard.shard]}
            key = keys[shard.key_id]
            workers.append(run_shard(run, plan, shard, served, key, config, pair_check=pair_check))
        return await asyncio.gather(*workers, return_exceptions=True)

    failed: dict[int, IncompleteError] = {}
    for shard, outcome in zip(shards, asyncio.run(run_shards()), strict=True):
        if isinstance(outcome, IncompleteError):
            failed[shard.shard] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
    return failed


def _stop_reasons(
    run: RunFolder, keys: Sequence[ApiKey], config: GenerationConfig, failed: Mapping[int, IncompleteError]
) -> list[PipelineError]:
    """Return why keys cannot send more calls, for keys whose own shard is complete. They stopped while helping others.

    `failed` has the errors of shards, which contain the reasons of the other keys.
    """
    state = read_rate_limit_state(run.rate_limit_log)
    reasons = [budget_guard(config)(state, CallSize(chars=0, pairs=1)), *(key_error(key, state) for key in keys)]
    return [e for e in reasons if e and not any(str(e) in str(error) for error in failed.values())]


def _incomplete(missing: Mapping[str, list[str]], errors: Sequence[PipelineError]) -> IncompleteError:
    """Combine the shards' errors into one for the run.

    The class of the combined error shows how to resume. QuotaExhaustedError means: wait until the quota is reset.
    BudgetExceededError means: raise the budget.
    """
    n = sum(map(len, missing.values()))
    what = f"{n} chunks are missing" if n else f"every chunk is answered, but {len(errors)} shards failed"
    lines = [f"incomplete: {what}; run the same command again to resume"]
    lines += [f"{label}: {len(ids)} chunks, e.g. {', '.join(ids[:3])}" for label, ids in missing.items()]
    lines += [str(error) for error in errors]
    message = "\n  - ".join(lines)
    resets = [e.resets_at for e in errors if isinstance(e, QuotaExhaustedError) and e.resets_at]
    if resets:
        return QuotaExhaustedError(message, min(resets))
    if any(isinstance(e, BudgetExceededError) for e in errors):
        return BudgetExceededError(message)
    return IncompleteError(message)
