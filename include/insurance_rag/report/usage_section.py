"""Read usage and cost per shard. Part manifests describe finished shards, and progress files describe the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.records import ProgressState, Shard
from insurance_rag.core.records.generation import PartManifest
from insurance_rag.core.records.usage import RunUsage, Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.reader import Reader
from insurance_rag.report.view import ShardUsage, StageProgress, View


class ShardPlan(View):
    """The fields of plan.json that the page shows.

    Other fields are ignored, so plans from other versions can be read.
    """

    shards: list[Shard]


def read_run_usage(reader: Reader, run: RunFolder) -> RunUsage | None:
    """Return the usage of the whole run, or None if no shard has finished a call yet."""
    return reader.record(run.usage, RunUsage)


def read_usage(
    reader: Reader, run: RunFolder, stages: Sequence[StageProgress], run_usage: RunUsage | None
) -> list[ShardUsage] | None:
    """Return one entry per shard in the plan, or None if there is no plan."""
    plan = reader.record(run.plan, ShardPlan)
    if plan is None:
        return None
    shards_of_key = Counter(shard.key_id for shard in plan.shards)
    # Usage is recorded per key, so it can be shown for a shard only if no other shard uses the same key.
    by_key = {key: usage for key, usage in run_usage.keys.items() if shards_of_key[key] == 1} if run_usage else {}
    progress = {stage.state.label: stage.state for stage in stages if stage.state.stage == "generate"}
    return [_shard_usage(reader, run, shard, by_key, progress.get(shard.label)) for shard in plan.shards]


def _shard_usage(
    reader: Reader,
    run: RunFolder,
    shard: Shard,
    by_key: Mapping[str, Usage],
    progress: ProgressState | None,
) -> ShardUsage:
    path, chunks = manifest_path(run.part(shard.shard)), len(shard.chunk_ids)
    failed = progress is not None and progress.state == "failed"
    error = str(progress.figures.get("error") or "") if progress and failed else ""
    if manifest := reader.record(path, PartManifest):
        return ShardUsage(
            label=shard.label,
            state="done",
            chunks=chunks,
            chunks_done=chunks,
            rows=manifest.rows,
            quarantined=manifest.quarantined,
            usage=Usage.model_validate(manifest.model_dump(include=set(Usage.model_fields))),
            error=error,
            moved=manifest.moved,
            helped=manifest.helped,
        )
    known = by_key.get(shard.key_id, Usage())
    if progress is None:
        return ShardUsage(label=shard.label, state="waiting", chunks=chunks, chunks_done=0, usage=known)
    figures = progress.figures
    latest = {name: figures[name] for name in Usage.model_fields if name in figures}
    usage = reader.section(run.progress, Usage.model_validate, {**known.model_dump(), **latest})
    return ShardUsage(
        label=shard.label,
        state=progress.state,
        chunks=chunks,
        chunks_done=min(progress.done, chunks),
        quarantined=quarantined if isinstance(quarantined := figures.get("quarantined"), int) else 0,
        usage=usage or known,
        error=error,
    )


def other_models(usage: RunUsage) -> str:
    """Return the models that answered instead of the requested one, with their numbers of answers."""
    return ", ".join(f"{model} ({n:,})" for model, n in usage.models.items() if model != usage.model)


def total_usage(shards: Sequence[ShardUsage]) -> ShardUsage:
    """Return the totals over all shards."""
    usage = {name: sum(getattr(shard.usage, name) for shard in shards) for name in Usage.model_fields}
    return ShardUsage(
        label="",
        state="done" if all(shard.state == "done" for shard in shards) else "running",
        chunks=sum(shard.chunks for shard in shards),
        chunks_done=sum(shard.chunks_done for shard in shards),
        rows=sum(shard.rows for shard in shards),
        quarantined=sum(shard.quarantined for shard in shards),
        usage=Usage.model_validate(usage),
    )
