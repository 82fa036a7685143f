"""The jobs of a run: each chunk with its content key, read from the run's own input without keeping the texts."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from insurance_rag.artifacts import RunFolder, sha256_file
from insurance_rag.errors import WrongInput
from insurance_rag.records import Chunk, Shard
from insurance_rag.shards.content import Content
from insurance_rag.shards.ledger import Ledger
from insurance_rag.shards.plan import Plan, read_plan


@dataclass(frozen=True, slots=True)
class Job:
    chunk_id: str
    key: str
    offset: int  # of its line in RUN/chunked_data.jsonl


def check_input(run: RunFolder, plan: Plan) -> None:
    """WrongInput where the run's input is not what was planned."""
    if not run.chunks.exists() or sha256_file(run.chunks) != plan.chunks_sha256:
        raise WrongInput(f"{run.chunks}: is not the input of {run.plan}; plan again (answers are kept)")


def read_jobs(run: RunFolder, content: Content, chunk_ids: Container[str]) -> Iterator[Job]:
    """The jobs of `chunk_ids` in the order of the input."""
    offset = 0
    with run.chunks.open("rb") as f:
        for line in f:
            chunk = Chunk.model_validate_json(line)
            if chunk.chunk_id in chunk_ids:
                yield Job(chunk.chunk_id, content.key(chunk), offset)
            offset += len(line)


def jobs_by_shard(run: RunFolder, content: Content, shards: Sequence[Shard]) -> dict[int, list[Job]]:
    """The jobs of each shard, by its number, in the order of the input."""
    shard_of = {chunk_id: shard.shard for shard in shards for chunk_id in shard.chunk_ids}
    jobs: dict[int, list[Job]] = {shard.shard: [] for shard in shards}
    for job in read_jobs(run, content, shard_of):
        jobs[shard_of[job.chunk_id]].append(job)
    return jobs


def read_chunk(run: RunFolder, job: Job) -> Chunk:
    with run.chunks.open("rb") as f:
        f.seek(job.offset)
        return Chunk.model_validate_json(f.readline())


def missing_chunks(run: RunFolder) -> dict[str, list[str]]:
    """What has neither an answer nor a place in the quarantine: shard label -> chunk ids, by plan and journals."""
    plan = read_plan(run)
    missing = missing_by_shard(run, plan, Ledger(run.journal))
    return {plan.shard(number).label: [job.chunk_id for job in jobs] for number, jobs in missing.items()}


def missing_by_shard(run: RunFolder, plan: Plan, ledger: Ledger) -> dict[int, list[Job]]:
    by_shard = jobs_by_shard(run, Content.of(plan.config), plan.shards)
    missing = {number: [job for job in jobs if job.key not in ledger] for number, jobs in sorted(by_shard.items())}
    return {number: jobs for number, jobs in missing.items() if jobs}
