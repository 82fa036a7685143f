"""dataset_part_N.json: the rows of a shard, written from the journal; the manifest comes when it is complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from insurance_rag.core.artifacts import manifest_path, write_manifest
from insurance_rag.core.files import atomic_write
from insurance_rag.core.locks import held
from insurance_rag.core.records import QAPair, Shard
from insurance_rag.core.records.generation import AnswerRecord, PairRecord
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.repair import replacements
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, read_chunk, work_items_by_shard


def write_part(run: RunFolder, shard: Shard, jobs: list[WorkItem], ledger: GenerationJournal) -> Counter[str]:
    """Write a JSON array, one row a line, of the answered jobs; counts rows, and those `repaired` among them.

    Any manifest goes first.
    """
    manifest_path(run.part(shard.shard)).unlink(missing_ok=True)
    answered = [job for job in jobs if job.cache_key in ledger and not ledger.is_quarantined(job.cache_key)]
    counts = Counter(rows=0, repaired=0)
    with atomic_write(run.part(shard.shard)) as f:
        f.write("[")
        for job, record in zip(answered, ledger.answers([job.cache_key for job in answered]), strict=True):
            text = read_chunk(run, job).text
            for pair, meta in _pairs(record):
                f.write(",\n" if counts["rows"] else "\n")
                whole = {"content_key": job.cache_key, "shard": shard.shard, **meta}
                f.write(_row(job.chunk_id, text, pair, whole).model_dump_json())
                counts.update(rows=1, repaired=meta.get("repaired", False))
        f.write("\n]\n")
    return counts


def write_open_parts(run: RunFolder, plan: Plan) -> None:
    """The parts of the shards without a manifest, from the journal: a shard that ended early has no or an old one."""
    open_shards = [s for s in plan.shards if not manifest_path(run.part(s.shard)).exists()]
    jobs = work_items_by_shard(run, PromptSpec.from_config(plan.config), open_shards)
    with GenerationJournal(run.journal) as ledger:
        for shard in open_shards:
            with held(run.lock(shard.shard), shard.label):
                write_part(run, shard, jobs[shard.shard], ledger)


def _pairs(record: AnswerRecord) -> Iterator[tuple[PairRecord, dict[str, Any]]]:
    """Every pair of both answers with its meta: a faulty one stays, for validation to reject, and names its fault."""
    faults = {fault.pair: fault.reason for fault in record.faults}
    meta = record.meta.model_dump()
    for n, pair in enumerate(record.pairs):
        yield pair, meta | ({"fault": faults[n]} if n in faults else {})
    if record.repair:
        for pair, reason in replacements(record):
            yield pair, {**meta, **record.repair.meta.model_dump(), "repaired": True, "repair_reason": reason}


def _row(chunk_id: str, text: str, pair: PairRecord, meta: dict[str, Any]) -> QAPair:
    return QAPair.model_validate(
        {
            "chunk_id": chunk_id,
            "type": pair.type,
            "instruction": pair.question,
            "input": text,
            "output": pair.answer,
            "evidence": pair.evidence,
            "answerable": pair.type != "unanswerable",
            "meta": meta,
        }
    )


def finish_part(
    run: RunFolder, plan: Plan, shard: Shard, jobs: list[WorkItem], ledger: GenerationJournal, **books: Any
) -> dict[str, Any]:
    """Write the part and, last, its manifest, whose existence means that the shard is complete."""
    counts = write_part(run, shard, jobs, ledger)
    quarantined = [ledger.record(job.cache_key).model_dump() for job in jobs if ledger.is_quarantined(job.cache_key)]
    manifest = write_manifest(
        run.part(shard.shard),
        parents=[{"uri": str(run.chunks.resolve()), "sha256": plan.chunks_sha256}],
        **counts,
        shard=shard.shard,
        label=shard.label,
        key_id=shard.key_id,
        chunks=len(jobs),
        plan_id=plan.plan_id,
        **books,
        pending_repairs=sum(ledger.is_repairable(job.cache_key) for job in jobs),
        quarantined=quarantined,
    )
    return {**{k: v for k, v in manifest.items() if k != "parents"}, "quarantined": len(quarantined)}
