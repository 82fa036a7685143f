"""The clients of the generation benchmark: this pipeline, the reference design's algorithm, and google-genai.

    python -m bench.generation_clients SPEC.json

Starts one worker process per shard. The workers are forked after all imports and start at the same time. SPEC.json is a
RunSpec (generation_harness.py) whose run folder contains a plan. Each worker writes its WorkerResult to
RUN/workers/N.json.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING

from bench.generation_harness import RunSpec, WorkerResult
from insurance_rag.chunks import read_chunks
from insurance_rag.core.errors import BlockedAnswerError, InvalidAnswerError
from insurance_rag.core.files import write_json
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.llm.gemini import read_completion
from insurance_rag.planning import read_plan
from insurance_rag.planning.plan import Plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import plan_pairs

if TYPE_CHECKING:
    import httpx

    from insurance_rag.generation.prompt import ChunkRequest

ClientFunction = Callable[[RunSpec, Plan, int, ApiKey], list[str]]
"""A client: generates the QA pairs for one shard (its number is the third argument) and returns the ids of the chunks
that were answered."""


def pipeline(spec: RunSpec, plan: Plan, number: int, key: ApiKey) -> list[str]:
    """Generate the QA pairs for the shard with this pipeline, as the mapped Airflow task does."""
    from insurance_rag.generation import generate_shard
    from insurance_rag.validation.pair_check import pair_check

    generate_shard(spec.folder, number, key, pair_check=pair_check())
    return plan.shard(number).chunk_ids


def reference(spec: RunSpec, plan: Plan, number: int, key: ApiKey) -> list[str]:
    """Run the reference design's algorithm (docs/origin.md). Makes one call at a time; retries only after a 429."""
    import httpx

    from insurance_rag.generation.prompt import ChunkRequest, answer_schema, render

    prompt_spec, answered = PromptSpec.from_config(plan.config), []
    part = spec.folder.root / "workers" / f"part_{number}.json"
    url = f"{spec.url}/v1beta/models/{plan.config.model}:generateContent"
    with httpx.Client(headers={"x-goog-api-key": key.key.get_secret_value()}, timeout=60) as client:
        for done, chunk in enumerate(chunks_of_shard(spec, plan, number), 1):
            request = ChunkRequest(chunk, plan_pairs(prompt_spec, chunk))
            config = {"responseMimeType": "application/json", "responseSchema": answer_schema([request])}
            body = {"contents": [{"parts": [{"text": render(prompt_spec, [request])}]}], "generationConfig": config}
            for attempt in range(6):
                try:
                    response = client.post(url, json=body)
                except httpx.TransportError:
                    break
                if response.status_code == 429 and attempt < 5:
                    pause(min(2.0 * 2**attempt * 2 + random.uniform(1, 3), 30), spec)
                    continue
                if response.status_code == 200:
                    answered += answered_chunks(text_of(response), [request])
                break
            if done % 10 == 0:
                write_json(part, answered)
            pause(0.2, spec)
    return answered


def google_genai(spec: RunSpec, plan: Plan, number: int, key: ApiKey) -> list[str]:
    """Run google-genai with `spec.concurrency` calls in flight. Its retry delays follow the simulator's clock.

    It has no packing of its own: with `spec.chunks_per_call`, it gets this pipeline's prompt for several chunks.
    """
    from google import genai
    from google.genai import types

    from insurance_rag.generation.prompt import ChunkRequest, answer_schema, render

    prompt_spec, answered = PromptSpec.from_config(plan.config), []
    retry = types.HttpRetryOptions(
        attempts=spec.attempts,
        initial_delay=1 / spec.speed,
        max_delay=60 / spec.speed,
        exp_base=2,
        jitter=1 / spec.speed,
    )
    options = types.HttpOptions(base_url=spec.url, retry_options=retry)
    client = genai.Client(api_key=key.key.get_secret_value(), http_options=options)
    groups = iter(grouped(chunks_of_shard(spec, plan, number), spec.chunks_per_call))

    async def worker() -> None:
        for group in groups:
            requests = [ChunkRequest(chunk, plan_pairs(prompt_spec, chunk)) for chunk in group]
            schema = answer_schema(requests)
            config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=schema)
            try:
                answer = await client.aio.models.generate_content(
                    model=plan.config.model, contents=render(prompt_spec, requests), config=config
                )
            except call_errors():
                continue
            answered.extend(answered_chunks(answer.text or "", requests))

    async def workers() -> None:
        await asyncio.gather(*(worker() for _ in range(spec.concurrency)))

    asyncio.run(workers())
    return answered


def call_errors() -> tuple[type[Exception], ...]:
    """Return the exception classes that google-genai may raise after its last retry."""
    import aiohttp
    import httpx
    from google.genai import errors

    return (TimeoutError, OSError, errors.APIError, aiohttp.ClientError, httpx.TransportError)


CLIENTS: dict[str, ClientFunction] = {"pipeline": pipeline, "reference": reference, "google-genai": google_genai}


def chunks_of_shard(spec: RunSpec, plan: Plan, number: int) -> list[Chunk]:
    """Return the chunks of shard `number`."""
    wanted = set(plan.shard(number).chunk_ids)
    return [chunk for chunk in read_chunks(spec.folder.chunks) if chunk.chunk_id in wanted]


def text_of(response: httpx.Response) -> str:
    """Return the text in a generateContent response, or an empty string if there is none."""
    try:
        return read_completion(response.json()).text
    except (BlockedAnswerError, InvalidAnswerError):
        return ""


def answered_chunks(text: str, requests: Sequence[ChunkRequest]) -> list[str]:
    """Return the ids of the chunks that an answer contains a usable pair for."""
    from insurance_rag.generation.parse import parse_answer

    try:
        parsed = parse_answer(text, requests)
    except InvalidAnswerError:
        return []
    return [asked.chunk.chunk_id for asked, pairs in zip(requests, parsed.pairs, strict=True) if pairs]


def grouped(chunks: Sequence[Chunk], n: int) -> list[Sequence[Chunk]]:
    """Return the chunks in groups of at most `n`."""
    return [chunks[start : start + n] for start in range(0, len(chunks), n)]


def pause(seconds: float, spec: RunSpec) -> None:
    """Sleep for `seconds` on the simulator's clock."""
    time.sleep(seconds / spec.speed)


def main() -> None:
    """Start one worker process per shard and wait until all of them have ended."""
    spec = RunSpec(**json.loads(Path(sys.argv[1]).read_text()))
    client = CLIENTS[spec.client]
    warm_up(spec)
    plan = read_plan(spec.folder)
    keys = {str(entry["id"]): ApiKey.model_validate(entry) for entry in spec.keys}
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(plan.shards))
    gc.freeze()  # otherwise garbage collection in a child would copy the memory pages shared with the parent
    workers = [
        context.Process(target=work, args=(client, spec, plan, shard.shard, keys[shard.key_id], start))
        for shard in plan.shards
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def warm_up(spec: RunSpec) -> None:
    """Import everything that the first call needs, so that the workers do not spend measured time on imports."""
    import httpx

    from insurance_rag.generation import (
        parse,  # noqa: F401
        shard,  # noqa: F401
    )
    from insurance_rag.generation.teachers import gemini  # noqa: F401

    async def call() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(f"{spec.url}/stats")
        if spec.client == "google-genai":
            import aiohttp
            from google import genai  # noqa: F401

            async with aiohttp.ClientSession() as session, session.get(f"{spec.url}/stats") as answer:
                await answer.read()

    asyncio.run(call())


def work(client: ClientFunction, spec: RunSpec, plan: Plan, number: int, key: ApiKey, start: Barrier) -> None:
    """Run in a worker process: wait until all workers are ready, run `client`, write the WorkerResult and exit."""
    error, answered = "", []
    start.wait()
    try:
        answered = client(spec, plan, number, key)
    except Exception as e:  # noqa: BLE001 - the report shows every error
        error = f"{type(e).__name__}: {e}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(spec.folder.root / "workers" / f"{number}.json", vars(WorkerResult(answered, error, round(peak, 1))))
    os._exit(0)


if __name__ == "__main__":
    main()
