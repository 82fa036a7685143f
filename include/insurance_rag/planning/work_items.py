"""The jobs of a run: each chunk with its content key, read from the run's own input without keeping the texts."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.records import Chunk, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, read_plan
from insurance_rag.planning.prompt_spec import PromptSpec


@dataclass(frozen=True, slots=True)
class WorkItem:
    chunk_id: str
    cache_key: str
    offset: int  # of its line in RUN/chunked_data.jsonl


def check_input(run: RunFolder, plan: Plan) -> None:
    """InvalidInputError where the run's input is not what was planned."""
    if not run.chunks.exists() or sha256_file(run.chunks) != plan.chunks_sha256:
        raise InvalidInputError(f"{run.chunks}: is not the input of {run.plan}; plan again (answers are kept)")


def read_work_items(run: RunFolder, content: PromptSpec, chunk_ids: Container[str]) -> Iterator[WorkItem]:
    """The jobs of `chunk_ids` in the order of the input."""
    offset = 0
    with run.chunks.open("rb") as f:
        for line in f:
            chunk = Chunk.model_validate_json(line)
            if chunk.chunk_id in chunk_ids:
                yield WorkItem(chunk.chunk_id, content.cache_key(chunk), offset)
            offset += len(line)


def work_items_by_shard(run: RunFolder, content: PromptSpec, shards: Sequence[Shard]) -> dict[int, list[WorkItem]]:
    """The jobs of each shard, by its number, in the order of the input."""
    shard_of = {chunk_id: shard.shard for shard in shards for chunk_id in shard.chunk_ids}
    jobs: dict[int, list[WorkItem]] = {shard.shard: [] for shard in shards}
    for job in read_work_items(run, content, shard_of):
        jobs[shard_of[job.chunk_id]].append(job)
    return jobs


def read_chunk(run: RunFolder, job: WorkItem) -> Chunk:
    with run.chunks.open("rb") as f:
        f.seek(job.offset)
        return Chunk.model_validate_json(f.readline())


def missing_chunks(run: RunFolder) -> dict[str, list[str]]:
    """What has neither an answer nor a place in the quarantine: shard label -> chunk ids, by plan and journals."""
    plan = read_plan(run)
    missing = missing_by_shard(run, plan, GenerationJournal(run.journal))
    return {plan.shard(number).label: [job.chunk_id for job in jobs] for number, jobs in missing.items()}


def missing_by_shard(run: RunFolder, plan: Plan, ledger: GenerationJournal) -> dict[int, list[WorkItem]]:
    by_shard = work_items_by_shard(run, PromptSpec.from_config(plan.config), plan.shards)
    missing = {number: [job for job in jobs if job.cache_key not in ledger] for number, jobs in sorted(by_shard.items())}
    return {number: jobs for number, jobs in missing.items() if jobs}
