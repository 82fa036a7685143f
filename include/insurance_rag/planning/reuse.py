"""A refresh pays for news alone: answers of earlier runs are taken over by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from insurance_rag.chunks import ChunkDiff, diff_chunks, read_chunks
from insurance_rag.core.files import write_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, Refresh, read_plan, save_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import read_work_items


def reuse_answers(run: RunFolder, previous: Sequence[RunFolder]) -> Plan:
    """Copy what earlier runs, newest first, answered for the contents of `run` into its journal.

    Returns the plan with the account: what was added, changed and removed since the newest, and the calls saved. Runs
    that never finished count too; a folder without a journal has nothing to give. Pairs of removed chunks are retired
    by not being copied. The earlier runs are left as they are.
    """
    plan = read_plan(run)
    earlier = [folder for folder in previous if folder.root.resolve() != run.root.resolve()]
    ids = {i for shard in plan.shards for i in shard.chunk_ids}
    keys = dict.fromkeys(job.key for job in read_work_items(run, PromptSpec.from_config(plan.config), ids))
    saved = write_jsonl(run.journal / "previous.jsonl", _answers(list(keys), earlier))
    difference = _difference(run, earlier)
    refresh = Refresh(
        previous=[str(folder.root.resolve()) for folder in earlier],
        added=len(difference.added),
        changed=len(difference.changed),
        removed=len(difference.removed),
        calls_saved=saved,
    )
    plan = plan.model_copy(update={"refresh": refresh})
    save_plan(plan, run)
    return plan


def _answers(keys: list[str], earlier: Sequence[RunFolder]) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        ledgers = [stack.enter_context(GenerationJournal(folder.journal)) for folder in earlier]
        for key in keys:
            records = [ledger.record(key) for ledger in ledgers if key in ledger]
            # A clause that the API blocks for good stays set aside; what could not be read is worth another try.
            usable = [r for r in records if r["state"] != "quarantined" or r["reason"] == "blocked"]
            if usable:
                yield min(usable, key=lambda r: r["state"] == "quarantined")


def _difference(run: RunFolder, earlier: Sequence[RunFolder]) -> ChunkDiff:
    newest = next((folder.chunks for folder in earlier if folder.chunks.exists()), None)
    return diff_chunks(read_chunks(newest) if newest else [], read_chunks(run.chunks))
