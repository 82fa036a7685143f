"""Write part files (dataset_part_N.json). Each holds the rows of one shard, built from the journal.

A part file without a manifest may be incomplete. The manifest is written last, once every chunk in the shard is
answered or quarantined.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import describe, manifest_path
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import atomic_write, remove_file, write_json
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import Artifact, QAPair, Shard
from insurance_rag.core.records.generation import (
    OTHER_CHUNK_ID,
    AnswerRecord,
    PairRecord,
    PairStyle,
    PartArtifact,
    PartManifest,
    QuarantinedChunk,
)
from insurance_rag.core.records.usage import Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.repair import replacements
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, read_chunk, read_other_chunk, work_items_by_shard

RowMeta = dict[str, JsonValue]


@dataclass
class RowCounts:
    """Numbers of rows in a part file."""

    rows: int = 0
    repaired: int = 0
    """Number of rows that replace a faulty row."""


def write_part(run: RunFolder, shard: Shard, items: list[WorkItem], journal: GenerationJournal) -> RowCounts:
    """Write the rows for all answered chunks as a JSON array with one row per line, and return the row counts.

    An existing manifest is deleted first. Raises IncompleteError if the disk is full.
    """
    remove_file(manifest_path(run.part(shard.shard)))
    answered = [item for item in items if item.cache_key in journal and not journal.is_quarantined(item.cache_key)]
    counts = RowCounts()
    with atomic_write(run.part(shard.shard)) as f:
        f.write("[")
        for item, answer in zip(answered, journal.answers([item.cache_key for item in answered]), strict=True):
            text, other = read_chunk(run, item).text, read_other_chunk(run, item)
            for pair, meta in _pairs_with_meta(answer):
                f.write(",\n" if counts.rows else "\n")
                whole: RowMeta = {"cache_key": item.cache_key, "shard": shard.shard, **meta}
                if other and meta.get("form") == "two_chunks":
                    context = f"{text}\n\n{other.text}"
                    whole[OTHER_CHUNK_ID] = other.chunk_id
                else:
                    context = text
                f.write(_row(item.chunk_id, context, pair, whole).model_dump_json())
                counts.rows += 1
                counts.repaired += "repaired" in meta
        f.write("\n]\n")
    return counts


def finish_answered_parts(
    run: RunFolder, plan: Plan, items_by_shard: Mapping[int, list[WorkItem]], usage: Callable[[int], Usage]
) -> None:
    """Finish the parts of shards that ended early, but whose chunks other workers have answered or repaired since.

    `usage` returns the usage of a shard. Shards that a process is working on are left to that process.
    """
    candidates = [s for s in plan.shards if s.shard in items_by_shard and _pending_in_manifest(run, s) != 0]
    if not candidates:  # opening the journal of a large run takes long
        return
    with GenerationJournal(run.journal) as journal:
        for shard in candidates:
            items = items_by_shard[shard.shard]
            if not _is_part_outdated(run, shard, items, journal):
                continue
            with contextlib.suppress(IncompleteError), hold_lock(run.lock(shard.shard), shard.label):
                journal.refresh()
                # Another process may have finished the part before this one got the lock.
                if _is_part_outdated(run, shard, items, journal):
                    finish_part(run, plan, shard, items_by_shard, journal, usage(shard.shard))


def _is_part_outdated(run: RunFolder, shard: Shard, items: Sequence[WorkItem], journal: GenerationJournal) -> bool:
    """Return whether a complete part can be written that is better than the present one.

    That is so if every chunk has a record, and either the part has no manifest or repairs were made since.
    """
    if any(item.cache_key not in journal for item in items):
        return False
    pending = _pending_in_manifest(run, shard)
    return pending is None or _pending_repairs(items, journal) < pending


def _pending_in_manifest(run: RunFolder, shard: Shard) -> int | None:
    """Return the number of pending repairs in the manifest of a part; None if there is no manifest that can be read."""
    try:
        return read_manifest(run, shard.shard).pending_repairs
    except InvalidInputError:
        return None


def read_manifest(run: RunFolder, shard: int) -> PartManifest:
    """Return the manifest of a shard's part. Raises InvalidInputError if it does not exist or is damaged."""
    return read_record(
        manifest_path(run.part(shard)), PartManifest, "a manifest of a part", "run `generate` again (answers are kept)"
    )


def _pending_repairs(items: Sequence[WorkItem], journal: GenerationJournal) -> int:
    return sum(journal.is_repairable(item.cache_key) for item in items)


def write_open_parts(run: RunFolder, plan: Plan) -> None:
    """Write the part file of every shard whose part has no manifest.

    If a shard stopped early, the journal may contain answers that the shard's part file lacks.
    """
    open_shards = [s for s in plan.shards if not manifest_path(run.part(s.shard)).exists()]
    items = work_items_by_shard(run, PromptSpec.from_config(plan.config), open_shards)
    with GenerationJournal(run.journal) as journal:
        for shard in open_shards:
            with hold_lock(run.lock(shard.shard), shard.label):
                write_part(run, shard, items[shard.shard], journal)


def finish_part(
    run: RunFolder,
    plan: Plan,
    shard: Shard,
    items_by_shard: Mapping[int, list[WorkItem]],
    journal: GenerationJournal,
    usage: Usage,
) -> PartArtifact:
    """Write a shard's part file, then the manifest that marks the shard as complete. No chunk may be missing.

    `items_by_shard` has the items of the shard itself and of all shards that its worker may help.
    """
    items = items_by_shard[shard.shard]
    counts = write_part(run, shard, items, journal)
    path = run.part(shard.shard)
    records = [journal.record(item.cache_key) for item in items if journal.is_quarantined(item.cache_key)]
    quarantined = [record for record in records if isinstance(record, QuarantinedChunk)]
    moved = {key_id: n for key_id, n in answered_by(items, journal).items() if key_id != shard.key_id}
    manifest = describe(
        path,
        PartManifest,
        **usage.model_dump(),
        rows=counts.rows,
        repaired=counts.repaired,
        moved=moved,
        helped=_helped(shard, items_by_shard, journal),
        shard=shard.shard,
        label=shard.label,
        key_id=shard.key_id,
        chunks=len(items),
        plan_id=plan.plan_id,
        pending_repairs=_pending_repairs(items, journal),
        quarantined=len(quarantined),
        quarantined_chunks=quarantined,
        parents=[Artifact(uri=public_uri(run.chunks), sha256=plan.chunks_sha256)],
    )
    write_json(manifest_path(path), manifest.model_dump(mode="json"))
    return manifest.artifact()


def answered_by(items: Sequence[WorkItem], journal: GenerationJournal) -> Counter[str]:
    """Return how many of the chunks each key answered in this run, by key id. Chunks with the same content count once.

    Answers that were reused from earlier runs are not counted.
    """
    cache_keys = [key for key in dict.fromkeys(item.cache_key for item in items) if key in journal]
    answered = [key for key in cache_keys if not journal.is_quarantined(key) and not journal.is_reused(key)]
    return Counter(answer.meta.key_id for answer in journal.answers(answered))


def _helped(shard: Shard, items_by_shard: Mapping[int, list[WorkItem]], journal: GenerationJournal) -> int:
    """Return how many chunks of other shards the shard's key answered in this run.

    Only the records that the shard's workers wrote are read. Reading those of all shards for each shard would take
    quadratic time.
    """
    own = {item.cache_key for item in items_by_shard[shard.shard]}
    others = [item for items in items_by_shard.values() for item in items if item.cache_key not in own]
    candidates = [item for item in others if journal.is_written_by(shard.shard, item.cache_key)]
    return answered_by(candidates, journal)[shard.key_id]


def _pairs_with_meta(answer: AnswerRecord) -> Iterator[tuple[PairRecord, RowMeta]]:
    """Yield (pair, metadata of its row) for each pair in an answer, then for each replacement in its repair.

    Faulty pairs are included and labeled with their fault. Validation drops them later.
    """
    faults = {fault.pair: fault.reason for fault in answer.faults}
    first: RowMeta = answer.meta.model_dump()
    for n, pair in enumerate(answer.pairs):
        yield pair, {**first, **_style(pair.style), **({"fault": faults[n]} if n in faults else {})}
    if answer.repair:
        second: RowMeta = answer.repair.meta.model_dump()
        for pair, fault in replacements(answer):
            style = pair.style if fault.pair is None else answer.pairs[fault.pair].style
            yield pair, {**first, **second, **_style(style), "repaired": True, "repair_reason": fault.reason}


def _style(style: PairStyle) -> RowMeta:
    return {name: value for name, value in vars(style).items() if value}


def _row(chunk_id: str, text: str, pair: PairRecord, meta: RowMeta) -> QAPair:
    return QAPair(
        chunk_id=chunk_id,
        type=pair.type,
        instruction=pair.question,
        input=text,
        output=pair.answer,
        evidence=pair.evidence,
        answerable=pair.type != "unanswerable",
        meta=meta,
    )
