"""Check that what a run has published is complete: every manifest describes the file next to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.generation import PartManifest
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.plan import Plan, read_plan


def unpublished_problems(run: RunFolder) -> Iterator[str]:
    """Yield what is wrong with the published files of a run. May be called while commands write to the run folder."""
    try:
        plan = read_plan(run)
    except PipelineError:
        return  # without a plan, or with an edited one, no part counts
    for shard in plan.shards:
        path = run.part(shard.shard)
        before = _read(manifest_path(path))
        problem = _part_problem(path, before, plan) if before is not None else None
        if problem and _read(manifest_path(path)) == before:  # nobody replaced the part meanwhile
            yield problem
    yield from _adapter_problems(run)
    yield from _answers_problems(run)


def is_part_complete(run: RunFolder, shard: int, plan: Plan) -> bool:
    """Return whether a shard's part and its manifest exist and belong together."""
    content = _read(manifest_path(run.part(shard)))
    return content is not None and _part_problem(run.part(shard), content, plan) is None


def _part_problem(path: Path, content: bytes, plan: Plan) -> str | None:
    try:
        manifest = read_record(manifest_path(path), PartManifest, "a manifest", "")
    except PipelineError as e:
        return f"{manifest_path(path)} cannot be read: {e}; {content[:80]!r}"
    if not path.exists():
        return f"{manifest_path(path)} exists, but {path.name} does not"
    if sha256_file(path) != manifest.sha256:
        return f"{path} does not have the hash in its manifest"
    rows = read_json(path)
    if len(rows) != manifest.rows:
        return f"{path} has {len(rows)} rows, its manifest says {manifest.rows}"
    quarantined = {chunk.chunk_id for chunk in manifest.quarantined_chunks}
    missing = set(plan.shard(manifest.shard).chunk_ids) - {row["chunk_id"] for row in rows} - quarantined
    if missing:
        return f"{path} has a manifest, but lacks {len(missing)} chunks, e.g. {sorted(missing)[0]}"
    return None


def _adapter_problems(run: RunFolder) -> Iterator[str]:
    for path in run.adapters.glob("*/training.json"):
        adapter = AdapterFolder(path.parent)
        lacking = [file.name for file in (adapter.weights, adapter.peft_config) if not file.is_file()]
        if lacking:
            yield f"{path} exists, but {' and '.join(lacking)} do not"


def _answers_problems(run: RunFolder) -> Iterator[str]:
    path = run.evaluation / "answers.jsonl"
    before = _read(manifest_path(path))
    if before is None:
        return
    is_right = path.exists() and sha256_file(path) == json.loads(before)["sha256"]
    if not is_right and _read(manifest_path(path)) == before:  # nobody replaced the answers meanwhile
        yield f"{path} does not have the hash in its manifest"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
