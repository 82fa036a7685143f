"""A refresh pays for news alone: answers of an earlier run are taken over by content."""

from __future__ import annotations

from insurance_rag.artifacts import RunFolder, write_jsonl
from insurance_rag.chunks import diff_chunks, read_chunks
from insurance_rag.shards.content import Content
from insurance_rag.shards.jobs import read_jobs
from insurance_rag.shards.ledger import Ledger
from insurance_rag.shards.plan import Plan, Refresh, read_plan, save_plan


def take_over(previous: RunFolder, run: RunFolder) -> Plan:
    """Copy what `previous` answered for the contents of `run` into its journal; returns the plan with the account.

    Pairs of removed chunks are retired by not being copied. The earlier run is left as it is.
    """
    plan = read_plan(run)
    difference = diff_chunks(read_chunks(previous.chunks), read_chunks(run.chunks))
    with Ledger(previous.journal) as old:
        ids = {i for shard in plan.shards for i in shard.chunk_ids}
        jobs = {job.key: job for job in read_jobs(run, Content.of(plan.config), ids) if job.key in old}
        saved = write_jsonl(run.journal / "previous.jsonl", old.records(list(jobs)))
    refresh = Refresh(
        previous=str(previous.root.resolve()),
        added=len(difference.added),
        changed=len(difference.changed),
        removed=len(difference.removed),
        calls_saved=saved,
    )
    plan = plan.model_copy(update={"refresh": refresh})
    save_plan(plan, run)
    return plan
