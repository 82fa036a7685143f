"""Worker processes of the generation benchmark: this project's client, the source's algorithm, and google-genai.

    python bench/generation_clients.py SPEC.json

One process a key, forked when everything is imported, so that all start at once. SPEC: {client, run, url, speed, keys,
concurrency?, attempts?}; RUN is a planned run folder. Each worker leaves RUN/workers/N.json: {answered, error, rss_mb}.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from insurance_rag.chunks import read_chunks
from insurance_rag.core.files import write_json
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import read_plan
from insurance_rag.planning.plan import Plan
from insurance_rag.planning.prompt_spec import PromptSpec

Spec = dict[str, Any]
Client = Callable[[Spec, Plan, int, ApiKey], list[str]]


def ours(spec: Spec, plan: Plan, number: int, key: ApiKey) -> list[str]:
    """The stage as the mapped task calls it."""
    from insurance_rag.generation import generate_shard

    generate_shard(RunFolder(Path(spec["run"])), number, key)
    return plan.shard(number).chunk_ids


def source(spec: Spec, plan: Plan, number: int, key: ApiKey) -> list[str]:
    """generate_data_parallel.py after SPEC section 4: one call after the other, and only a 429 is tried again."""
    import httpx

    from insurance_rag.generation.prompt import answer_schema, render

    content, answered = PromptSpec.from_config(plan.config), []
    part = Path(spec["run"]) / "workers" / f"part_{number}.json"
    url = f"{spec['url']}/v1beta/models/{plan.config.model}:generateContent"
    with httpx.Client(headers={"x-goog-api-key": key.key.get_secret_value()}, timeout=60) as client:
        for done, chunk in enumerate(chunks_of(spec, plan, number), 1):
            config = {"responseMimeType": "application/json", "responseSchema": answer_schema(content)}
            body = {"contents": [{"parts": [{"text": render(content, chunk)}]}], "generationConfig": config}
            for attempt in range(6):
                try:
                    answer = client.post(url, json=body)
                except httpx.TransportError:
                    break
                if answer.status_code == 429 and attempt < 5:
                    pause(min(2.0 * 2**attempt * 2 + random.uniform(1, 3), 30), spec)
                    continue
                if answer.status_code == 200 and is_json(text_of(answer.json())):
                    answered.append(chunk.chunk_id)
                break
            if done % 10 == 0:
                write_json(part, answered)
            pause(0.2, spec)
    return answered


def official(spec: Spec, plan: Plan, number: int, key: ApiKey) -> list[str]:
    """google-genai, asynchronous, a few calls at a time, with its own retries (delays shrunk to the simulator's)."""
    from google import genai
    from google.genai import errors, types

    from insurance_rag.generation.prompt import answer_schema, render

    speed, content, answered = spec["speed"], PromptSpec.from_config(plan.config), []
    retry = types.HttpRetryOptions(
        attempts=spec["attempts"], initial_delay=1 / speed, max_delay=60 / speed, exp_base=2, jitter=1 / speed
    )
    options = types.HttpOptions(base_url=spec["url"], retry_options=retry)
    client = genai.Client(api_key=key.key.get_secret_value(), http_options=options)
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_json_schema=answer_schema(content)
    )
    chunks = iter(chunks_of(spec, plan, number))

    async def worker() -> None:
        for chunk in chunks:
            try:
                answer = await client.aio.models.generate_content(
                    model=plan.config.model, contents=render(content, chunk), config=config
                )
            except (TimeoutError, errors.APIError, OSError, *transport_errors()):
                continue
            if is_json(answer.text or ""):
                answered.append(chunk.chunk_id)

    async def workers() -> None:
        await asyncio.gather(*(worker() for _ in range(spec["concurrency"])))

    asyncio.run(workers())
    return answered


def transport_errors() -> tuple[type[Exception], ...]:
    import aiohttp
    import httpx

    return (aiohttp.ClientError, httpx.TransportError)


CLIENTS: dict[str, Client] = {"ours": ours, "source": source, "official": official}


def chunks_of(spec: Spec, plan: Plan, number: int) -> list[Chunk]:
    wanted = set(plan.shard(number).chunk_ids)
    return [chunk for chunk in read_chunks(RunFolder(Path(spec["run"])).chunks) if chunk.chunk_id in wanted]


def text_of(answer: dict[str, Any]) -> str:
    candidate = (answer.get("candidates") or [{}])[0]
    return "".join(part.get("text", "") for part in candidate.get("content", {}).get("parts", []))


def is_json(text: str) -> bool:
    try:
        return bool(json.loads(text))
    except ValueError:
        return False


def pause(seconds: float, spec: Spec) -> None:
    time.sleep(seconds / spec["speed"])


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    client = CLIENTS[spec["client"]]
    warm_up(spec)
    plan = read_plan(RunFolder(Path(spec["run"])))
    keys = {entry["id"]: ApiKey.model_validate(entry) for entry in spec["keys"]}
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(plan.shards))
    gc.freeze()  # else the first collection of each child copies every page it shares with its parent
    workers = [
        context.Process(target=work, args=(client, spec, plan, shard.shard, keys[shard.key_id], start))
        for shard in plan.shards
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def warm_up(spec: Spec) -> None:
    """Import all that a first call imports, by one to /stats, before the fork: the race is about calls."""
    import httpx
    import insurance_rag.generation.gemini  # noqa: F401

    import insurance_rag.generation.worker  # noqa: F401

    async def call() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(f"{spec['url']}/stats")
        if spec["client"] == "official":
            import aiohttp
            from google import genai  # noqa: F401

            async with aiohttp.ClientSession() as session, session.get(f"{spec['url']}/stats") as answer:
                await answer.read()

    asyncio.run(call())


def work(client: Client, spec: Spec, plan: Plan, number: int, key: ApiKey, start: Any) -> None:
    error, answered = "", []
    start.wait()
    try:
        answered = client(spec, plan, number, key)
    except Exception as e:  # noqa: BLE001 - whatever it is, the report names it
        error = f"{type(e).__name__}: {e}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"answered": answered, "error": error, "rss_mb": round(peak, 1)}
    write_json(Path(spec["run"]) / "workers" / f"{number}.json", result)
    os._exit(0)


if __name__ == "__main__":
    main()
