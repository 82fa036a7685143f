"""All shards of a run in one process, each its own worker with its own key; dead keys' chunks move to the healthy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BudgetExceededError,
    IncompleteError,
    InvalidInputError,
    KeyRejectedError,
    PipelineError,
    QuotaExhaustedError,
)
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.repair import Judge
from insurance_rag.generation.usage import write_usage
from insurance_rag.generation.worker import work
from insurance_rag.planning.plan import Plan, read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.redistribute import plan_redistributed
from insurance_rag.planning.work_items import check_input, missing_chunks, work_items_by_shard
from insurance_rag.rate_limit.event_log import read_rate_limit_state


def generate_run(
    run: RunFolder, keys: Sequence[ApiKey], config: GenerationConfig | None = None, judge: Judge | None = None
) -> dict[str, Any]:
    """Answer every shard; the same call resumes. Returns {uri, parts, rows, chunks, calls, ...}.

    `judge` as in `generate_shard`.

    Raises IncompleteError (or QuotaExhaustedError, BudgetExceededError) naming the chunks that are missing and when to resume.
    """
    plan = read_plan(run)
    check_input(run, plan)
    run.create()
    config = config or plan.config
    by_id = {key.id: key for key in keys}
    results, errors = _round(run, plan, plan.shards, by_id, config, judge)
    dead_keys: set[str] = set()
    while config.redistribute and errors:
        # What is known of a key is forgotten when its shard is opened again, for a new key may stand behind its name.
        dead_keys |= {
            shard.key_id for shard, error in errors if isinstance(error, (KeyRejectedError, QuotaExhaustedError))
        }
        extra = plan_redistributed(run, [key for key in keys if key.id not in dead_keys])
        if not extra:
            break
        plan = read_plan(run)
        dead = [shard for shard in plan.shards if shard.shard in plan.moved]  # complete now: nothing is left in them
        more, errors = _round(run, plan, [*dead, *extra], by_id, config, judge)
        results = {**results, **more}
    if missing := missing_chunks(run):
        raise _incomplete(missing, [error for _, error in errors])
    total = write_usage(run, plan, read_rate_limit_state(run.rate_limit_log), config)
    parts = [results[number] for number in sorted(results)]
    return {
        "uri": str(run.parts.resolve()),
        "rows": sum(part["rows"] for part in parts),
        "chunks": plan.chunks,
        **{name: sum(part[name] for part in parts) for name in ("repaired", "pending_repairs", "quarantined")},
        **total,
        "parts": [
            {name: part[name] for name in ("uri", "sha256", "rows", "shard", "label", "chunks")} for part in parts
        ],
    }


def _round(
    run: RunFolder,
    plan: Plan,
    shards: Sequence[Shard],
    keys: dict[str, ApiKey],
    config: GenerationConfig,
    judge: Judge | None,
) -> tuple[dict[int, dict[str, Any]], list[tuple[Shard, PipelineError]]]:
    if unknown := sorted({shard.key_id for shard in shards} - keys.keys()):
        raise InvalidInputError(
            [
                f"key {name!r} of the plan is not among the keys ({', '.join(keys)}); give it, or plan again with the "
                "same --out (answers are kept)"
                for name in unknown
            ]
        )

    jobs = work_items_by_shard(run, PromptSpec.from_config(config), shards)

    async def together() -> list[dict[str, Any] | BaseException]:
        workers = (
            work(run, plan, shard, jobs[shard.shard], keys[shard.key_id], config, judge=judge) for shard in shards
        )
        return await asyncio.gather(*workers, return_exceptions=True)

    results: dict[int, dict[str, Any]] = {}
    errors: list[tuple[Shard, PipelineError]] = []
    for shard, outcome in zip(shards, asyncio.run(together()), strict=True):
        if isinstance(outcome, dict):
            results[shard.shard] = outcome
        elif isinstance(outcome, IncompleteError):
            errors.append((shard, outcome))
        else:
            raise outcome
    return results, errors


def _incomplete(missing: dict[str, list[str]], errors: Sequence[PipelineError]) -> IncompleteError:
    """One error for the run: the soonest return of a quota decides its kind."""
    n = sum(map(len, missing.values()))
    lines = [f"incomplete: {n} chunks are missing; the same command resumes"]
    lines += [f"{label}: {len(ids)} chunks, e.g. {', '.join(ids[:3])}" for label, ids in missing.items()]
    lines += [str(error) for error in errors]
    message = "\n  - ".join(lines)
    resets = [e.resets_at for e in errors if isinstance(e, QuotaExhaustedError) and e.resets_at]
    if resets:
        return QuotaExhaustedError(message, min(resets))
    return (
        BudgetExceededError(message)
        if any(isinstance(e, BudgetExceededError) for e in errors)
        else IncompleteError(message)
    )
