"""Gemini's batch mode: half the price, an answer within a day. Submit, poll, fetch are plain functions over a handle,
a JSON object that XCom can carry, so that a deferrable task can wait without a worker; the journal is the same.

    handle = submit_batch(run, 3, key)                 # None where nothing is missing
    while not poll_batch(handle, key, config): ...     # minutes to hours
    part = fetch_batch(run, handle, key)               # clauses that failed are left for `generate_shard`
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import tenacity

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BlockedAnswerError,
    IncompleteError,
    InvalidAnswerError,
    InvalidInputError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.locks import held
from insurance_rag.core.records import ApiKey, Chunk, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.journaling import record_answer, record_quarantine
from insurance_rag.generation.parts import finish_part, write_part
from insurance_rag.generation.repair import Judge, find_faults
from insurance_rag.generation.teachers.gemini import GeminiTeacher, read_answer, read_error, read_usage
from insurance_rag.generation.usage import summarize_shard_usage, write_usage
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, check_input, read_chunk, read_work_items
from insurance_rag.rate_limit.limiter import Limiter, retry_wait_s, window_s

log = logging.getLogger(__name__)

MOST_BYTES = 18_000_000  # of inlined requests; the API takes 20 MB


def submit_batch(
    run: RunFolder, shard: int, key: ApiKey, config: GenerationConfig | None = None
) -> dict[str, Any] | None:
    """Hand in what the shard lacks; a batch that was handed in before a crash is found by its name, not paid twice."""
    plan = read_plan(run)
    check_input(run, plan)
    config = config or plan.config
    if config.teacher != "gemini":
        raise InvalidInputError(f"batch mode is Gemini's; the teacher is {config.teacher!r}")
    with GenerationJournal(run.journal) as ledger:
        jobs = [job for job in _jobs(run, plan.shard(shard), config) if job.cache_key not in ledger]
    names = asyncio.run(_submit(run, jobs, key, config)) if jobs else []
    return {"shard": shard, "batches": names, "chunks": len(jobs)} if names else None


def poll_batch(handle: dict[str, Any], key: ApiKey, config: GenerationConfig) -> bool:
    """Whether every batch of the handle has ended, well or not. One short request a batch."""
    return all(operation.get("done") for operation in asyncio.run(_get(handle["batches"], key, config)))


def fetch_batch(
    run: RunFolder,
    handle: dict[str, Any],
    key: ApiKey,
    config: GenerationConfig | None = None,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Write the answers to the journal; returns the part like `generate_shard`.

    IncompleteError where a batch is not done, failed, or left clauses open: `generate_shard` or another batch asks for them.
    IncompleteError too where `judge` finds fault with pairs: `generate_shard` asks for these once more, at the full price.
    """
    plan = read_plan(run)
    config = config or plan.config
    shard, content = plan.shard(handle["shard"]), PromptSpec.from_config(config)
    operations = asyncio.run(_get(handle["batches"], key, config))
    with (
        held(run.lock(shard.shard), shard.label),
        GenerationJournal(run.journal, shard.shard) as ledger,
        closing(Limiter(run.rate_limit_log, shard, key, config)) as limiter,
    ):
        jobs = _jobs(run, shard, config)
        wanted = {job.cache_key: job for job in jobs if job.cache_key not in ledger}
        for content_key, entry in (pair for operation in operations for pair in _entries(operation)):
            if job := wanted.pop(content_key, None):
                chunk, mending = read_chunk(run, job), judge if config.repair else None
                limiter.batch_answered(*_settle(job, chunk, entry, content, key.id, ledger, mending))
        ledger.sync()
        books = summarize_shard_usage(limiter.pace, shard.shard, config)
        write_usage(run, plan, limiter.pace, config)
        if left := [job.chunk_id for job in jobs if job.cache_key not in ledger or ledger.is_repairable(job.cache_key)]:
            write_part(run, shard, jobs, ledger)
            states = ", ".join(str(o.get("metadata", {}).get("state")) for o in operations)
            raise IncompleteError(
                f"{shard.label}: batch {states}; {len(left)} chunks are open, e.g. {', '.join(left[:3])}"
            )
        return finish_part(run, plan, shard, jobs, ledger, **books)


def _jobs(run: RunFolder, shard: Shard, config: GenerationConfig) -> list[WorkItem]:
    return list(read_work_items(run, PromptSpec.from_config(config), set(shard.chunk_ids)))


async def _submit(run: RunFolder, jobs: list[WorkItem], key: ApiKey, config: GenerationConfig) -> list[str]:
    """Names of the batches. Each is called after its content, so that one from before a crash is known again."""
    async with _teacher(config, key) as teacher:
        running = await _call(teacher, config, "GET", "/v1beta/batches?pageSize=1000")
        known = {o["metadata"].get("displayName"): o["name"] for o in running.get("operations", []) if _is_of_use(o)}
        names = []
        for lot in _lots(run, jobs, teacher):
            name = "insurance-rag " + sha256_text(*(entry["metadata"]["key"] for entry in lot))[:16]
            body = {"batch": {"displayName": name, "inputConfig": {"requests": {"requests": lot}}}}
            path = f"/v1beta/models/{config.model}:batchGenerateContent"
            names.append(known.get(name) or (await _call(teacher, config, "POST", path, body))["name"])
        return names


def _is_of_use(operation: dict[str, Any]) -> bool:
    """Under way, or ended well."""
    return not operation.get("done") or "response" in operation


def _lots(run: RunFolder, jobs: list[WorkItem], teacher: GeminiTeacher) -> Iterator[list[dict[str, Any]]]:
    """The requests, as many to a lot as the API takes."""
    lot: list[dict[str, Any]] = []
    size = 0
    for job in jobs:
        entry = {"request": teacher.body(read_chunk(run, job)), "metadata": {"key": job.cache_key}}
        length = len(json.dumps(entry).encode())
        if lot and size + length > MOST_BYTES:
            yield lot
            lot, size = [], 0
        lot.append(entry)
        size += length
    if lot:
        yield lot


async def _get(names: list[str], key: ApiKey, config: GenerationConfig) -> list[dict[str, Any]]:
    async with _teacher(config, key) as teacher:
        return [await _call(teacher, config, "GET", f"/v1beta/{name}") for name in names]


@asynccontextmanager
async def _teacher(config: GenerationConfig, key: ApiKey) -> AsyncIterator[GeminiTeacher]:
    teacher = GeminiTeacher(config, key, PromptSpec.from_config(config))
    try:
        yield teacher
    finally:
        await teacher.close()


async def _call(
    teacher: GeminiTeacher, config: GenerationConfig, method: str, path: str, body: Any = None
) -> dict[str, Any]:
    """One management request, tried again where the server fails; a 429 here is of batch mode's own limits."""
    window = window_s(config)
    async for attempt in tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type((ServerUnavailableError, RateLimitError)),
        stop=tenacity.stop_after_attempt(config.max_retries + 1),
        wait=lambda state: retry_wait_s(state.attempt_number - 1, window),
        reraise=True,
    ):
        with attempt:
            status, answer, _ = await teacher.server.request(method, path, body)
            if status != 200 or not isinstance(answer, dict):
                raise read_error(status, answer, teacher.server)
    return answer


def _entries(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(content key, {"response": ...} or {"error": ...}) of each answer; none of a batch that failed as a whole."""
    inlined = operation.get("response", {}).get("inlinedResponses", {})
    for entry in inlined.get("inlinedResponses", []):
        yield entry.get("metadata", {}).get("key", ""), entry


def _settle(
    job: WorkItem,
    chunk: Chunk,
    entry: dict[str, Any],
    content: PromptSpec,
    key_id: str,
    ledger: GenerationJournal,
    judge: Judge | None,
) -> tuple[int, int]:
    """One answer into the journal; one that failed stays open. Returns the tokens it cost."""
    if "response" not in entry:
        return 0, 0
    try:
        reply = read_answer(entry["response"], content)
        faults = find_faults(judge, chunk, reply.pairs, content) if judge else []
        record_answer(ledger, job, reply, content, key_id, faults)
    except BlockedAnswerError as e:
        record_quarantine(ledger, job, e)
    except InvalidAnswerError as e:  # asked again it may be answered better
        log.info("%s: %s", job.chunk_id, e)
    return read_usage(entry["response"])
