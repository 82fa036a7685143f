"""Reuse answers from earlier runs, so that only new or changed chunks need a call.

Answers of the current model and prompt are found by their cache keys. Answers of earlier models that the configuration
keeps are stored under the cache keys of the current model (see `kept_answers`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from insurance_rag.chunks import ChunkDiff, diff_chunks, read_chunks
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.files import atomic_write
from insurance_rag.core.records.generation import AnswerRecord, QuarantinedChunk
from insurance_rag.core.records.planning import Refresh
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import (
    REUSED_ANSWERS,
    ChunkRecord,
    GenerationJournal,
    encode_chunk_record,
)
from insurance_rag.planning.kept_answers import earlier_run
from insurance_rag.planning.plan import Plan, read_plan, save_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, read_work_items


def reuse_answers(run: RunFolder, previous: Sequence[RunFolder]) -> Plan:
    """Copy answers for the chunks of `run` from earlier runs into the journal of `run`.

    `previous` lists the earlier runs, newest first; unfinished runs are allowed. The earlier runs are not changed.
    Answers for chunks that no longer exist are not copied.

    If a chunk has no answer of the current model, an answer of a model in `keep_answers_of` is copied as it is.

    Return the plan with a new `refresh` record. The record holds the number of calls saved, the number of answers kept
    from each earlier model, and the numbers of chunks added, changed and removed since the newest earlier run.
    """
    plan = read_plan(run)
    earlier = [folder for folder in previous if folder.root.resolve() != run.root.resolve()]
    chunk_ids = {chunk_id for shard in plan.shards for chunk_id in shard.chunk_ids}
    items = list(read_work_items(run, PromptSpec.from_config(plan.config), chunk_ids))
    calls_saved = 0
    kept_from: Counter[str] = Counter()
    with atomic_write(run.journal / REUSED_ANSWERS, "wb") as f:
        for cache_key, record in _reusable_records(run, plan, items, earlier):
            f.write(encode_chunk_record(cache_key, record))
            calls_saved += 1
            if isinstance(record, AnswerRecord) and record.meta.model in plan.config.keep_answers_of:
                kept_from[record.meta.model] += 1
    difference = _difference(run, earlier)
    refresh = Refresh(
        previous=[public_uri(folder.root) for folder in earlier],
        added=len(difference.added),
        changed=len(difference.changed),
        removed=len(difference.removed),
        calls_saved=calls_saved,
        kept_from=dict(kept_from),
    )
    plan = plan.model_copy(update={"refresh": refresh})
    save_plan(plan, run)
    return plan


def _reusable_records(
    run: RunFolder, plan: Plan, items: Sequence[WorkItem], earlier: Sequence[RunFolder]
) -> Iterator[tuple[str, ChunkRecord]]:
    """Yield (cache key, record) for each key with a reusable record.

    If a key has several reusable records, an answer is preferred to a quarantine record, an answer of the current model
    to a kept one, and a record of a newer run to that of an older one.
    """

    def rank(record: ChunkRecord) -> int:
        if isinstance(record, QuarantinedChunk):
            return 2
        return int(record.meta.model in plan.config.keep_answers_of)

    with ExitStack() as stack:
        journals = [stack.enter_context(GenerationJournal(folder.journal)) for folder in earlier]
        runs = [earlier_run(run, plan, items, *found) for found in zip(earlier, journals, strict=True)]
        for cache_key in dict.fromkeys(item.cache_key for item in items):
            records = [record for one in runs for record in one.records(cache_key) if _is_reusable(record)]
            if records:
                yield cache_key, min(records, key=rank)


def _is_reusable(record: ChunkRecord) -> bool:
    """Return whether a new run can reuse this record.

    A chunk that the API blocked remains quarantined. Other quarantined chunks may succeed in a new run.
    """
    return not isinstance(record, QuarantinedChunk) or record.reason == "blocked"


def _difference(run: RunFolder, earlier: Sequence[RunFolder]) -> ChunkDiff:
    newest = next((folder.chunks for folder in earlier if folder.chunks.exists()), None)
    return diff_chunks(read_chunks(newest) if newest else [], read_chunks(run.chunks))
