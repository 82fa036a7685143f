"""The plan of a run, which assigns each chunk to a shard and thus to an API key.

Two deployments on one run folder do not destroy each other's work. One process at a time writes a plan (`plan_lock`).
It replaces an earlier plan only while it holds the locks of all shards, so that no worker still follows the old plan.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from insurance_rag.config import GenerationConfig
from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write, read_json, remove_file, write_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.records import ApiKey, Chunk, Record, Shard
from insurance_rag.core.records.planning import PartitionCheck, Refresh
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.claims import clear_claims
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.shards import check_partition, hash_chunk_ids, make_shards

log = logging.getLogger(__name__)


PLAN_WAIT_S = 30.0
"""Seconds to wait for another process that is writing the plan."""
SHARD_WAIT_S = 2.0
"""Other workers look at a shard's lock for an instant, to see whether its worker is alive. This wait outlasts that."""


class OldRunError(InvalidInputError):
    """The run folder belongs to an earlier version of the program. Plan into a new folder."""


class Plan(Record):
    """Content of RUN/plan.json. Each chunk is in exactly one shard."""

    plan_id: str
    chunks: int
    chunks_sha256: str = Field(description="SHA-256 hash of RUN/chunked_data.jsonl")
    prompt_version: str
    config: GenerationConfig
    keys_file: str | None = None
    pools: dict[str, list[str]] = Field(description="ids of the keys in each quota pool")
    shards: list[Shard]
    refresh: Refresh | None = None
    partition: PartitionCheck

    def shard(self, number: int) -> Shard:
        """Return the shard with this number. Raises InvalidInputError if the plan has no such shard."""
        found = next((s for s in self.shards if s.shard == number), None)
        if found is None:
            raise InvalidInputError(f"unknown shard {number}; use one of the plan: 1 to {len(self.shards)}")
        return found


def make_plan(
    chunks: Sequence[Chunk], keys: Sequence[ApiKey], config: GenerationConfig, keys_file: Path | None = None
) -> Plan:
    """Divide the chunks among the keys (see `make_shards`). The same input always gives the same plan.

    Raises InvalidInputError if there are no keys or two chunks have the same id.
    """
    if not keys:
        raise InvalidInputError("no API keys; give at least one")
    chunk_ids = [chunk.chunk_id for chunk in chunks]
    shards = make_shards(chunk_ids, keys)
    prompt_version = PromptSpec.from_config(config).prompt_version
    pools: dict[str, list[str]] = {}
    for key in keys:
        pools.setdefault(key.pool, []).append(key.id)
    digest = hashlib.sha256()
    for line in _encode(chunks):
        digest.update(line)
    identity = (digest.hexdigest(), prompt_version, config.model_dump_json(), *(s.model_dump_json() for s in shards))
    return Plan(
        plan_id=sha256_text(*identity)[:16],
        chunks=len(chunk_ids),
        chunks_sha256=digest.hexdigest(),
        prompt_version=prompt_version,
        config=config,
        keys_file=str(keys_file.resolve()) if keys_file else None,
        pools=pools,
        shards=shards,
        partition=check_partition(chunk_ids, shards),
    )


def write_plan(plan: Plan, run: RunFolder, chunks: Iterable[Chunk]) -> Plan:
    """Write the chunks and the plan to the run folder, and return the plan that is stored there.

    If the folder already holds the same plan, the stored plan is kept, including its `refresh` record. Otherwise the
    part files in the folder are deleted. Their answers remain in the journal and need not be requested again.

    Raises IncompleteError if another process is planning or generating this run, and InvalidInputError if the folder
    belongs to a run of version 0.1.0.
    """
    run.create()
    with _plan_locked(run):
        if (stored := _read_plan_if_valid(run)) and stored.plan_id == plan.plan_id:
            return stored
        with _shards_locked(run):
            with atomic_write(run.chunks, "wb") as f:
                f.writelines(_encode(chunks))
            for part in run.parts.glob("dataset_part_*.json*"):
                remove_file(part)
            clear_claims(run)
            save_plan(plan, run)
    return plan


def _plan_locked(run: RunFolder) -> contextlib.AbstractContextManager[None]:
    return hold_lock(run.plan_lock, f"the plan of {run.root}", PLAN_WAIT_S)


@contextlib.contextmanager
def _shards_locked(run: RunFolder) -> Iterator[None]:
    """Hold the locks of all shards. Raises IncompleteError if a worker follows the stored plan."""
    with contextlib.ExitStack() as locks:
        for path in sorted({*run.parts.glob("shard_*.lock"), *_locks_in_store(run)}):
            locks.enter_context(hold_lock(path, f"{path.stem} of {run.root}", SHARD_WAIT_S))
        yield


def _locks_in_store(run: RunFolder) -> Iterator[Path]:
    """Yield the locks of the stored plan's shards if the run is in an object store.

    Workers on other machines hold leases there, which leave no lock files on this one.
    """
    if location_of(run.plan) and (stored := _read_plan_if_valid(run)):
        yield from (run.lock(shard.shard) for shard in stored.shards)


def read_plan(run: RunFolder) -> Plan:
    """Read RUN/plan.json.

    Raises InvalidInputError if there is no plan, or if the plan is invalid. The message lists every problem and says
    what to do.
    """
    if not run.plan.exists():
        raise InvalidInputError(f"{run.plan}: no plan; run `plan --chunks C.jsonl --out {run.root}` first")
    content = read_json(run.plan)
    _refuse_old_version(run, content)
    try:
        plan = Plan.model_validate(content)
    except ValidationError as e:
        problems = [f"{'.'.join(map(str, x['loc'])) or 'plan'}: {x['msg']}" for x in e.errors(include_url=False)]
    else:
        problems = _inconsistencies(plan)
    if problems:
        advice = f"make the plan again with `plan --chunks {run.chunks} --out {run.root}`; answers are kept"
        problems[-1] += f"; {advice}"
        raise InvalidInputError([f"{run.plan}: {problem}" for problem in problems])
    return plan


def with_config(plan: Plan, config: GenerationConfig, run: RunFolder) -> Plan:
    """Store the plan with new settings and return it. The shards do not change.

    If the new settings change the requests to the teacher, the cache keys change too. Then earlier answers do not
    count. Raises IncompleteError if such settings are given while a worker asks with the earlier ones.
    """
    if config == plan.config:
        return plan
    with _plan_locked(run), contextlib.ExitStack() as locks:
        plan = read_plan(run)
        spec = PromptSpec.from_config(config)
        if spec != PromptSpec.from_config(plan.config):
            locks.enter_context(_shards_locked(run))
        changed = plan.model_copy(update={"config": config, "prompt_version": spec.prompt_version})
        save_plan(changed, run)
    return changed


def save_plan(plan: Plan, run: RunFolder) -> None:
    """Write RUN/plan.json atomically."""
    write_json(run.plan, plan.model_dump(mode="json"))


def _read_plan_if_valid(run: RunFolder) -> Plan | None:
    if not run.plan.exists():
        return None
    try:
        return read_plan(run)
    except OldRunError:
        raise
    except InvalidInputError as e:
        log.warning("replacing an invalid plan: %s", e)
        return None


def _refuse_old_version(run: RunFolder, content: object) -> None:
    """Raise OldRunError if version 0.1.0 wrote the plan. Its answers have other cache keys, so none could be reused."""
    if isinstance(content, dict) and "proof" in content and "partition" not in content:
        raise OldRunError(
            f"{run.plan}: version 0.1.0 wrote this run, and this version cannot continue it; plan into a new run "
            f"folder, e.g. `plan --chunks {run.chunks} --out NEW_RUN` (this folder is not changed)"
        )


def _inconsistencies(plan: Plan) -> list[str]:
    numbers = Counter(shard.shard for shard in plan.shards)
    problems = [f"shards: shard {number} is listed {n} times" for number, n in sorted(numbers.items()) if n > 1]
    if not problems and set(numbers) != set(range(1, len(numbers) + 1)):
        found = ", ".join(map(str, sorted(numbers)))
        problems.append(f"shards: the shards are numbered {found}, not 1 to {len(numbers)}")
    times = Counter(chunk_id for shard in plan.shards for chunk_id in shard.chunk_ids)
    unchanged = hash_chunk_ids(times) == plan.partition.chunk_ids_sha256 and len(times) == plan.chunks
    if not unchanged or times.total() != len(times):
        problems.append("shards: the plan does not have each chunk in exactly one shard")
    return problems


def _encode(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    return (chunk.model_dump_json().encode() + b"\n" for chunk in chunks)
