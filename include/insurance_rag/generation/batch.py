"""Gemini's batch mode, which costs half as much as ordinary calls and returns answers within a day.

Submitting, polling and fetching are separate functions that share a handle. The handle is small enough for XCom, so a
deferrable Airflow task can wait without occupying a worker. Answers are stored in the same journal as answers from
ordinary calls.

    handle = submit_batch(run, 3, key)                 # None if no chunk is missing
    while not poll_batch(handle, key, config): ...     # takes minutes to hours
    part = fetch_batch(run, handle, key)               # IncompleteError if chunks failed; then call `generate_shard`
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import tenacity
from pydantic import JsonValue

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
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.generation import BatchHandle, PartArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.live_usage import OnUsage, live_usage
from insurance_rag.generation.next_call import Call, plan_call
from insurance_rag.generation.packing import FIRST_SIZE, approved_size, proven_size
from insurance_rag.generation.parts import finish_part, write_part
from insurance_rag.generation.recording import record_answers
from insurance_rag.generation.repair import PairCheck
from insurance_rag.generation.submitted_batches import (
    SubmittedBatch,
    forget_ended,
    read_submitted,
    write_submitted,
)
from insurance_rag.generation.teachers.gemini import GeminiTeacher, read_answer
from insurance_rag.generation.teachers.registry import TEACHERS
from insurance_rag.generation.usage import summarize_shard_usage, write_usage
from insurance_rag.llm import gemini
from insurance_rag.llm.json_values import as_dict, as_list, as_text
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, check_run_chunks, read_work_items, work_items_by_shard
from insurance_rag.rate_limit.backoff import quota_window_s, retry_wait_s
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.rate_limit.limiter import AnswerCounts, Limiter

log = logging.getLogger(__name__)

JsonObject = dict[str, JsonValue]

MAX_BATCH_BYTES = 18_000_000
"""Maximum total size of the requests in one batch. The API accepts at most 20 MB."""


@dataclass(frozen=True)
class Entry:
    """The answer to one request of a batch."""

    id: str
    cache_keys: list[str]
    response: JsonObject
    """Body of a generateContent response; empty if the request failed."""


def submit_batch(run: RunFolder, shard: int, key: ApiKey, config: GenerationConfig | None = None) -> BatchHandle | None:
    """Submit requests for the shard's missing chunks. Return None if no chunk is missing.

    Batches that were submitted before a crash and not yet fetched are found by their names. Their chunks are not
    submitted again. Raises InvalidInputError if the teacher has no batch mode, and IncompleteError if a process is
    working on the shard. Errors that the API reports are raised too.
    """
    plan = read_plan(run)
    check_run_chunks(run, plan)
    config = config or plan.config
    if not TEACHERS[config.teacher].supports_batch:
        supported = ", ".join(name for name, entry in TEACHERS.entries.items() if entry.supports_batch)
        raise InvalidInputError(
            f"the teacher {config.teacher!r} has no batch mode; set batch=false or use one of: {supported}"
        )
    spec, chosen = PromptSpec.from_config(config), plan.shard(shard)
    with hold_lock(run.lock(shard), chosen.label), GenerationJournal(run.journal) as journal:
        items = read_work_items(run, spec, set(chosen.chunk_ids))
        missing = [item for item in items if item.cache_key not in journal]
        names = asyncio.run(_submit(run, shard, missing, key, config)) if missing else []
    return BatchHandle(shard=shard, batches=names, chunks=len(missing)) if names else None


def poll_batch(handle: BatchHandle, key: ApiKey, config: GenerationConfig) -> bool:
    """Return whether every batch in the handle has ended, successfully or not. Sends one status request per batch."""
    return all(operation.get("done") for operation in asyncio.run(_get_operations(handle.batches, key, config)))


def fetch_batch(
    run: RunFolder,
    handle: BatchHandle,
    key: ApiKey,
    config: GenerationConfig | None = None,
    pair_check: PairCheck | None = None,
    on_usage: OnUsage | None = None,
) -> PartArtifact:
    """Fetch the answers from the batches in `handle`, write them to the journal, and return the shard's part.

    Raises IncompleteError in two cases. Either chunks are still unanswered, for example because a batch has failed, or
    `config.repair` is set and `pair_check` finds faulty pairs. `generate_shard` can then request the missing chunks and
    the repairs at the full price.
    """
    plan = read_plan(run)
    config = config or plan.config
    shard, spec = plan.shard(handle.shard), PromptSpec.from_config(config)
    operations = asyncio.run(_get_operations(handle.batches, key, config))
    active_check = pair_check if config.repair else None
    with (
        hold_lock(run.lock(shard.shard), shard.label),
        GenerationJournal(run.journal, shard.shard) as journal,
        closing(Limiter(run.rate_limit_log, shard, key, config)) as limiter,
    ):
        items_by_shard = work_items_by_shard(run, spec, plan.shards)
        items = items_by_shard[shard.shard]
        if on_usage:
            on_usage(live_usage(shard, limiter, config, handle.chunks))
        items_by_key = {item.cache_key: item for others in items_by_shard.values() for item in others}
        for entry in (entry for operation in operations for entry in _entries(operation)):
            if all(k in items_by_key for k in entry.cache_keys):
                call = plan_call(run, spec, [items_by_key[k] for k in entry.cache_keys])
                counts = _record_entry(call, entry, config, key.id, journal, active_check)
                limiter.batch_answered(entry.id, call.size.pairs, counts)
            else:  # the chunks or the settings have changed since
                limiter.batch_answered(entry.id, 0, AnswerCounts(*gemini.read_usage(entry.response), chunks=0))
        journal.sync()
        forget_ended(run, shard.shard, [_display_name(o) for o in operations if o.get("done")])
        usage = summarize_shard_usage(limiter.state, shard.shard, config)
        write_usage(run, plan, limiter.state, config)
        missing = [i.chunk_id for i in items if i.cache_key not in journal or journal.is_repairable(i.cache_key)]
        if on_usage:
            on_usage(live_usage(shard, limiter, config, len(missing)))
        if missing:
            write_part(run, shard, items, journal)
            states = ", ".join(as_text(as_dict(operation.get("metadata")).get("state")) for operation in operations)
            raise IncompleteError(
                f"{shard.label}: batch {states}; {len(missing)} chunks are still open, e.g. {', '.join(missing[:3])}; "
                "run `generate` to request them"
            )
        return finish_part(run, plan, shard, items_by_shard, journal, usage)


async def _submit(
    run: RunFolder, shard: int, items: list[WorkItem], key: ApiKey, config: GenerationConfig
) -> list[str]:
    """Submit requests for `items` in batches, and return the names that the server gave to the batches.

    Chunks with the same content are requested once. The display name of a batch is stored before the batch is
    submitted. A batch that was submitted earlier is found by this name.
    """
    missing = {item.cache_key: item for item in items}
    async with _open_teacher(config, key) as teacher:
        listed = await _call(teacher, config, "GET", "/v1beta/batches?pageSize=1000")
        operations = [as_dict(operation) for operation in as_list(listed.get("operations"))]
        known = {_display_name(o): as_text(o.get("name")) for o in operations if _is_usable(o)}
        submitted = [
            batch
            for batch in read_submitted(run, shard)
            if batch.display_name in known and not missing.keys().isdisjoint(batch.cache_keys)
        ]
        names = [known[batch.display_name] for batch in submitted]
        for batch in submitted:
            for cache_key in batch.cache_keys:
                missing.pop(cache_key, None)
        for requests in _batches(run, list(missing.values()), teacher, config, _chunks_per_call(run, config)):
            keys_of_requests = [as_text(as_dict(entry.get("metadata")).get("key")) for entry in requests]
            batch = SubmittedBatch(
                display_name=f"insurance-rag {secrets.token_hex(8)}", cache_keys=",".join(keys_of_requests).split(",")
            )
            submitted.append(batch)
            write_submitted(run, shard, submitted)
            inlined: list[JsonValue] = list(requests)
            body: JsonObject = {
                "batch": {"displayName": batch.display_name, "inputConfig": {"requests": {"requests": inlined}}}
            }
            path = f"/v1beta/models/{config.model}:batchGenerateContent"
            names.append(as_text((await _call(teacher, config, "POST", path, body)).get("name")))
        return names


def _display_name(operation: JsonObject) -> str:
    return as_text(as_dict(operation.get("metadata")).get("displayName"))


def _is_usable(operation: JsonObject) -> bool:
    """Return whether a batch is still running or has succeeded."""
    return not operation.get("done") or "response" in operation


def _batches(
    run: RunFolder, items: list[WorkItem], teacher: GeminiTeacher, config: GenerationConfig, chunks_per_call: int
) -> Iterator[list[JsonObject]]:
    """Yield the requests for `items`, grouped into batches of at most MAX_BATCH_BYTES.

    The key of a request consists of the cache keys of its chunks, in the order of the request.
    """
    batch: list[JsonObject] = []
    size = 0
    spec = PromptSpec.from_config(config)
    for start in range(0, len(items), chunks_per_call):
        call = plan_call(run, spec, items[start : start + chunks_per_call])
        key = ",".join(item.cache_key for item in call.items)
        entry: JsonObject = {"request": teacher.body(call.request), "metadata": {"key": key}}
        length = len(json.dumps(entry).encode())
        if batch and size + length > MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield batch


def _chunks_per_call(run: RunFolder, config: GenerationConfig) -> int:
    """Return the number of chunks per request: the configured one, or the one that ordinary calls have proven.

    Before a size is proven, it is at most FIRST_SIZE.
    """
    if config.chunks_per_call != "auto":
        return config.chunks_per_call
    packs = read_rate_limit_state(run.rate_limit_log).packs
    return proven_size(packs) or min(FIRST_SIZE, approved_size(packs))


async def _get_operations(names: list[str], key: ApiKey, config: GenerationConfig) -> list[JsonObject]:
    async with _open_teacher(config, key) as teacher:
        return [await _call(teacher, config, "GET", f"/v1beta/{name}") for name in names]


@asynccontextmanager
async def _open_teacher(config: GenerationConfig, key: ApiKey) -> AsyncIterator[GeminiTeacher]:
    teacher = GeminiTeacher(config, key, PromptSpec.from_config(config))
    try:
        yield teacher
    finally:
        await teacher.close()


async def _call(
    teacher: GeminiTeacher, config: GenerationConfig, method: str, path: str, body: JsonValue = None
) -> JsonObject:
    """Send one request to the batch API. Retry it after server failures and after status 429.

    The rate limiter is not involved, because batch mode has separate quotas.
    """
    window = quota_window_s(config)
    client = teacher.client
    async for attempt in tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type((ServerUnavailableError, RateLimitError)),
        stop=tenacity.stop_after_attempt(config.max_retries + 1),
        wait=lambda state: retry_wait_s(state.attempt_number - 1, window),
        reraise=True,
    ):
        with attempt:
            response = await client.request(method, path, body)
            if response.status != 200:
                raise gemini.read_error(client, response)
            if not isinstance(response.body, dict):
                raise client.invalid_body()
            return response.body
    raise AssertionError("tenacity returns or raises")


def _entries(operation: JsonObject) -> Iterator[Entry]:
    """Yield the entries of a batch. A batch that failed as a whole has none."""
    inlined = as_dict(as_dict(operation.get("response")).get("inlinedResponses"))
    for entry in map(as_dict, as_list(inlined.get("inlinedResponses"))):
        key = as_text(as_dict(entry.get("metadata")).get("key"))
        entry_id = sha256_text(as_text(operation.get("name")), key)[:16]
        yield Entry(entry_id, key.split(","), as_dict(entry.get("response")))


def _record_entry(
    call: Call,
    entry: Entry,
    config: GenerationConfig,
    key_id: str,
    journal: GenerationJournal,
    pair_check: PairCheck | None,
) -> AnswerCounts:
    """Write the answers in one batch entry to the journal, and return what they cost and brought.

    Chunks without a usable answer remain missing. An ordinary call may then ask for them in a different way.
    """
    try:
        answer = read_answer(entry.response, call.request)
    except (BlockedAnswerError, InvalidAnswerError) as e:
        log.info("%s: %s", ", ".join(item.chunk_id for item in call.items), e)
        return AnswerCounts(*gemini.read_usage(entry.response), chunks=0)
    return record_answers(journal, call, answer, config, key_id, pair_check).counts
