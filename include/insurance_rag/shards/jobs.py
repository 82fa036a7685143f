"""The jobs of a run: each chunk with its content key, read from the run's own input without keeping the texts."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from insurance_rag.artifacts import RunFolder, sha256_file
from insurance_rag.errors import WrongInput
from insurance_rag.records import Chunk
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
    shard_of = {chunk_id: shard.shard for shard in plan.shards for chunk_id in shard.chunk_ids}
    missing: dict[int, list[Job]] = {}
    for job in read_jobs(run, Content.of(plan.config), shard_of):
        if job.key not in ledger:
            missing.setdefault(shard_of[job.chunk_id], []).append(job)
    return dict(sorted(missing.items()))
