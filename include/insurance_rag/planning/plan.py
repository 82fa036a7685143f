"""The plan: which key answers for which chunks, with the proof that each chunk is in exactly one shard."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write, read_json, write_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import ApiKey, Chunk, Record, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.prompt_spec import PromptSpec


class Refresh(Record):
    """What earlier runs spare this one."""

    previous: list[str] = Field(description="their folders, newest first")
    added: int
    changed: int
    removed: int = Field(description="chunks that are gone; their pairs are retired")
    calls_saved: int = Field(description="chunks whose answers are taken over")


class Plan(Record):
    """RUN/plan.json. `shards` partition the chunks, after a redistribution too."""

    plan_id: str
    chunks: int
    chunks_sha256: str = Field(description="of RUN/chunked_data.jsonl")
    prompt_version: str
    config: GenerationConfig
    keys_file: str | None = None
    pools: dict[str, list[str]] = Field(description="quota pool -> ids of its keys")
    shards: list[Shard]
    moved: dict[int, list[int]] = Field(default={}, description="dead shard -> shards that took over what it left")
    refresh: Refresh | None = None
    proof: dict[str, Any] = Field(description="what was counted to prove that each chunk is in exactly one shard")

    def shard(self, number: int) -> Shard:
        found = next((s for s in self.shards if s.shard == number), None)
        if found is None:
            raise InvalidInputError(f"shard {number}: not in the plan; it has 1 to {len(self.shards)}")
        return found


def make_plan(
    chunks: Sequence[Chunk], keys: Sequence[ApiKey], config: GenerationConfig, keys_file: Path | None = None
) -> Plan:
    """Contiguous slices over the configured keys: ceil(n / keys) each, in proportion to the quota where it is told.

    The same input gives the same plan.
    """
    if not keys:
        raise InvalidInputError("no API keys: a plan needs one at least")
    ids = [chunk.chunk_id for chunk in chunks]
    sizes = slice_sizes(len(ids), quota_shares(keys))
    used = [(key, size) for key, size in zip(keys, sizes, strict=True) if size]
    shards, start = [], 0
    for number, (key, size) in enumerate(used, 1):
        shards.append(make_shard(number, len(used), key, share_of_pool(key, keys), ids[start : start + size]))
        start += size
    version = PromptSpec.from_config(config).prompt_version
    pools: dict[str, list[str]] = {}
    for key in keys:
        pools.setdefault(key.pool, []).append(key.id)
    digest = hashlib.sha256()
    for line in _lines(chunks):
        digest.update(line)
    identity = (digest.hexdigest(), version, config.model_dump_json(), *(s.model_dump_json() for s in shards))
    return Plan(
        plan_id=sha256_text(*identity)[:16],
        chunks=len(ids),
        chunks_sha256=digest.hexdigest(),
        prompt_version=version,
        config=config,
        keys_file=str(keys_file.resolve()) if keys_file else None,
        pools=pools,
        shards=shards,
        proof=prove(ids, shards),
    )


def make_shard(number: int, of: int, key: ApiKey, share: float, chunk_ids: list[str]) -> Shard:
    quota = {"rpm": key.rpm, "tpm": key.tpm, "rpd": key.rpd}
    return Shard(shard=number, of=of, key_id=key.id, pool=key.pool, share=share, chunk_ids=chunk_ids, **quota)


def quota_shares(keys: Sequence[ApiKey]) -> list[float]:
    """Each key's part of the pace: its project's quota, divided by the project's keys.

    The first of rpm, tpm, rpd that is told of every key counts; without one the projects count as equal, for only this
    is certain: keys of one project share its quota.
    """
    in_pool = Counter(key.pool for key in keys)
    told = next((name for name in ("rpm", "tpm", "rpd") if all(getattr(key, name) for key in keys)), None)
    return [(getattr(key, told) if told else 1) / in_pool[key.pool] for key in keys]


def share_of_pool(key: ApiKey, keys: Sequence[ApiKey]) -> float:
    return 1 / sum(other.pool == key.pool for other in keys)


def slice_sizes(n: int, rates: Sequence[float]) -> list[int]:
    """Sizes of contiguous slices that sum to `n`: ceil(n / workers) where rates are equal, else in their proportion."""
    if len(set(rates)) == 1:
        size = math.ceil(n / len(rates))
        return [max(0, min(size, n - i * size)) for i in range(len(rates))]
    exact = [n * rate / sum(rates) for rate in rates]
    sizes = [math.floor(x) for x in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: sizes[i] - exact[i])
    for i in by_remainder[: n - sum(sizes)]:
        sizes[i] += 1
    return sizes


def prove(chunk_ids: Iterable[str], shards: Iterable[Shard]) -> dict[str, Any]:
    """Count every chunk id against every shard; InvalidInputError names those that are missing, foreign or there twice."""
    wanted = set(chunk_ids)
    times = Counter(chunk_id for shard in shards for chunk_id in shard.chunk_ids)
    problems = [f"chunk {i!r} is in no shard" for i in sorted(wanted - times.keys())]
    problems += [f"chunk {i!r} is in a shard and not in the input" for i in sorted(times.keys() - wanted)]
    problems += [f"chunk {i!r} is in {n} shards" for i, n in sorted(times.items()) if n > 1]
    if problems:
        raise InvalidInputError(["the plan does not hold each chunk in exactly one shard; plan again", *problems[:20]])
    return {
        "chunks": len(wanted),
        "assigned": times.total(),
        "each_in_exactly_one_shard": True,
        "chunk_ids_sha256": sha256_text(*sorted(wanted)),
    }


def write_plan(plan: Plan, run: RunFolder, chunks: Iterable[Chunk]) -> Plan:
    """Keep the input beside the plan, then the plan itself; returns what stands in the folder.

    The plan that is there already stays, with what was redistributed in it. Parts of another plan are taken away: the
    journal holds their answers, and this plan's shards write them anew without a call.
    """
    run.create()
    if run.plan.exists() and read_json(run.plan).get("plan_id") == plan.plan_id:
        return read_plan(run)
    with atomic_write(run.chunks, "wb") as f:
        f.writelines(_lines(chunks))
    for part in run.parts.glob("dataset_part_*.json*"):
        part.unlink()
    save_plan(plan, run)
    return plan


def adopt(plan: Plan, config: GenerationConfig, run: RunFolder) -> Plan:
    """The plan with settings that were changed since; shards stay. Answers to other settings have other keys."""
    if config == plan.config:
        return plan
    changed = plan.model_copy(
        update={"config": config, "prompt_version": PromptSpec.from_config(config).prompt_version}
    )
    save_plan(changed, run)
    return changed


def save_plan(plan: Plan, run: RunFolder) -> None:
    write_json(run.plan, plan.model_dump(mode="json"))


def _lines(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    return (chunk.model_dump_json().encode() + b"\n" for chunk in chunks)


def read_plan(run: RunFolder) -> Plan:
    """InvalidInputError says what to do where there is no plan or it does not hold each chunk exactly once."""
    if not run.plan.exists():
        raise InvalidInputError(f"{run.plan}: no plan; run `plan --chunks C.jsonl --out {run.root}` first")
    plan = Plan.model_validate(read_json(run.plan))
    times = Counter(i for shard in plan.shards for i in shard.chunk_ids)
    if times.total() != len(times) or sha256_text(*sorted(times)) != plan.proof["chunk_ids_sha256"]:
        raise InvalidInputError(f"{run.plan}: does not hold each chunk in exactly one shard; plan again")
    return plan
