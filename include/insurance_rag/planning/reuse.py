"""Reuse answers from earlier runs by cache key, so that only new or changed chunks need a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from insurance_rag.chunks import ChunkDiff, diff_chunks, read_chunks
from insurance_rag.core.files import atomic_write
from insurance_rag.core.records.generation import QuarantinedChunk
from insurance_rag.core.records.planning import Refresh
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import ChunkRecord, GenerationJournal, encode_chunk_record
from insurance_rag.planning.plan import Plan, read_plan, save_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import read_work_items


def reuse_answers(run: RunFolder, previous: Sequence[RunFolder]) -> Plan:
    """Copy answers for the chunks of `run` from earlier runs into the journal of `run`.

    `previous` lists the earlier runs, newest first; unfinished runs are allowed. The earlier runs are not changed.
    Answers for chunks that no longer exist are not copied.

    Return the plan with a new `refresh` record. The record holds the number of calls saved, and the numbers of chunks
    added, changed and removed since the newest earlier run.
    """
    plan = read_plan(run)
    earlier = [folder for folder in previous if folder.root.resolve() != run.root.resolve()]
    chunk_ids = {chunk_id for shard in plan.shards for chunk_id in shard.chunk_ids}
    items = read_work_items(run, PromptSpec.from_config(plan.config), chunk_ids)
    cache_keys = list(dict.fromkeys(item.cache_key for item in items))
    calls_saved = 0
    with atomic_write(run.journal / "previous.jsonl", "wb") as f:
        for cache_key, record in _reusable_records(cache_keys, earlier):
            f.write(encode_chunk_record(cache_key, record))
            calls_saved += 1
    difference = _difference(run, earlier)
    refresh = Refresh(
        previous=[str(folder.root.resolve()) for folder in earlier],
        added=len(difference.added),
        changed=len(difference.changed),
        removed=len(difference.removed),
        calls_saved=calls_saved,
    )
    plan = plan.model_copy(update={"refresh": refresh})
    save_plan(plan, run)
    return plan


def _reusable_records(cache_keys: list[str], earlier: Sequence[RunFolder]) -> Iterator[tuple[str, ChunkRecord]]:
    """Yield (cache key, record) for each key with a reusable record.

    If a key has several reusable records, an answer is preferred to a quarantine record.
    """
    with ExitStack() as stack:
        journals = [stack.enter_context(GenerationJournal(folder.journal)) for folder in earlier]
        for cache_key in cache_keys:
            records = [journal.record(cache_key) for journal in journals if cache_key in journal]
            usable = [record for record in records if _is_reusable(record)]
            if usable:
                yield cache_key, min(usable, key=lambda record: isinstance(record, QuarantinedChunk))


def _is_reusable(record: ChunkRecord) -> bool:
    """Return whether a new run can reuse this record.

    A chunk that the API blocked remains quarantined. Other quarantined chunks may succeed in a new run.
    """
    return not isinstance(record, QuarantinedChunk) or record.reason == "blocked"


def _difference(run: RunFolder, earlier: Sequence[RunFolder]) -> ChunkDiff:
    newest = next((folder.chunks for folder in earlier if folder.chunks.exists()), None)
    return diff_chunks(read_chunks(newest) if newest else [], read_chunks(run.chunks))
