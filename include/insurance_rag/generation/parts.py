"""dataset_part_N.json: the rows of a shard, written from the journal; the manifest comes when it is complete."""

from __future__ import annotations

from typing import Any

from insurance_rag.artifacts import RunFolder, atomic_write, manifest_path, write_manifest
from insurance_rag.records import QAPair, Shard
from insurance_rag.shards.jobs import Job, read_chunk
from insurance_rag.shards.ledger import Ledger
from insurance_rag.shards.plan import Plan


def write_part(run: RunFolder, shard: Shard, jobs: list[Job], ledger: Ledger) -> int:
    """Write a JSON array, one row a line, of the answered jobs; returns the number of rows. Any manifest goes first."""
    manifest_path(run.part(shard.shard)).unlink(missing_ok=True)
    answered = [job for job in jobs if job.key in ledger and not ledger.is_quarantined(job.key)]
    rows = 0
    with atomic_write(run.part(shard.shard)) as f:
        f.write("[")
        for job, record in zip(answered, ledger.records([job.key for job in answered]), strict=True):
            text = read_chunk(run, job).text
            meta = {"content_key": job.key, "shard": shard.shard, **record["meta"]}
            for pair in record["pairs"]:
                f.write(",\n" if rows else "\n")
                f.write(_row(job.chunk_id, text, pair, meta).model_dump_json())
                rows += 1
        f.write("\n]\n")
    return rows


def _row(chunk_id: str, text: str, pair: dict[str, str], meta: dict[str, Any]) -> QAPair:
    return QAPair.model_validate(
        {
            "chunk_id": chunk_id,
            "type": pair["type"],
            "instruction": pair["question"],
            "input": text,
            "output": pair["answer"],
            "evidence": pair["evidence"],
            "answerable": pair["type"] != "unanswerable",
            "meta": meta,
        }
    )


def finish_part(
    run: RunFolder, plan: Plan, shard: Shard, jobs: list[Job], ledger: Ledger, **books: Any
) -> dict[str, Any]:
    """Write the part and, last, its manifest, whose existence means that the shard is complete."""
    rows = write_part(run, shard, jobs, ledger)
    aside = [record for job in jobs if ledger.is_quarantined(job.key) for record in [ledger.record(job.key)]]
    quarantined = [{name: record[name] for name in ("chunk_id", "reason", "detail")} for record in aside]
    manifest = write_manifest(
        run.part(shard.shard),
        parents=[{"uri": str(run.chunks.resolve()), "sha256": plan.chunks_sha256}],
        rows=rows,
        shard=shard.shard,
        label=shard.label,
        key_id=shard.key_id,
        chunks=len(jobs),
        plan_id=plan.plan_id,
        **books,
        quarantined=quarantined,
    )
    return {**{k: v for k, v in manifest.items() if k != "parents"}, "quarantined": len(quarantined)}
