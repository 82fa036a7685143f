"""Find answers of earlier teacher models that a run keeps (`GenerationConfig.keep_answers_of`).

An earlier run stored its answers under cache keys that depend on its own model and prompt. If the earlier prompt file
still exists unchanged, the keys can be computed. Otherwise, the rows in the earlier run's part files contain them.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.chunks import read_chunks
from insurance_rag.chunks.headings import product_name
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.generation import AnswerRecord
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import ChunkRecord, GenerationJournal
from insurance_rag.planning.plan import Plan, read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, read_work_items

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlierRun:
    """An earlier run whose answers can be reused."""

    journal: GenerationJournal
    dropped_models: frozenset[str]
    """Models whose answers the earlier run kept, but which the current run neither uses nor keeps."""
    kept_keys: dict[str, str]
    """Cache key in the current run -> cache key of the same chunk in this run; empty if its model is not kept."""

    def records(self, cache_key: str) -> list[ChunkRecord]:
        """Return the run's records for a chunk: at most one of the current model and one of a kept model."""
        found = [self.journal.record(cache_key)] if cache_key in self.journal else []
        kept_key = self.kept_keys.get(cache_key)
        if kept_key is not None and kept_key in self.journal:
            kept = self.journal.record(kept_key)
            found += [as_kept(kept)] if isinstance(kept, AnswerRecord) else []
        return [r for r in found if not (isinstance(r, AnswerRecord) and r.meta.model in self.dropped_models)]


def as_kept(record: AnswerRecord) -> AnswerRecord:
    """Return the answer without pending repairs, which would be written by another model than the answer."""
    return record if record.repair else record.model_copy(update={"faults": []})


def earlier_run(
    run: RunFolder, plan: Plan, items: Sequence[WorkItem], folder: RunFolder, journal: GenerationJournal
) -> EarlierRun:
    """Return the earlier run in `folder`. `items` are the work items of the current run `run`, with its `plan`."""
    models = {plan.config.model, *plan.config.keep_answers_of}
    earlier_plan = _plan_if_valid(folder)
    if earlier_plan is None:
        return EarlierRun(journal, frozenset(), {})
    dropped = frozenset(earlier_plan.config.keep_answers_of) - models
    kept = earlier_plan.config.model in plan.config.keep_answers_of and earlier_plan.config.model != plan.config.model
    keys = _kept_keys(run, items, folder, earlier_plan) if kept else {}
    return EarlierRun(journal, dropped, keys)


def _kept_keys(run: RunFolder, items: Sequence[WorkItem], folder: RunFolder, earlier_plan: Plan) -> dict[str, str]:
    """Return cache key in the current run -> cache key of the chunk with the same content in the earlier run."""
    ids = {item.chunk_id for item in items}
    key_of_content = {_content(c): key for c, key in _chunks_with_keys(folder, _keys_in_parts(folder))}
    current = {item.chunk_id: item.cache_key for item in items}
    keys = {
        key: key_of_content[_content(chunk)]
        for chunk, key in _chunks_with_keys(run, current)
        if _content(chunk) in key_of_content
    }
    with contextlib.suppress(InvalidInputError):  # the prompt file of the earlier run no longer exists
        computed = read_work_items(run, PromptSpec.from_config(earlier_plan.config), ids)
        keys = {current[item.chunk_id]: item.cache_key for item in computed} | keys
    return keys


def _content(chunk: Chunk) -> tuple[str, str]:
    """Return what identifies the same chunk in two versions of the chunk file, whatever its id."""
    return chunk.text, product_name(chunk)


def _chunks_with_keys(run: RunFolder, keys: dict[str, str]) -> list[tuple[Chunk, str]]:
    chunks = read_chunks(run.chunks) if keys and run.chunks.exists() else []
    return [(chunk, keys[chunk.chunk_id]) for chunk in chunks if chunk.chunk_id in keys]


def _keys_in_parts(run: RunFolder) -> dict[str, str]:
    """Return chunk id -> cache key for all rows in the part files, which always belong to the run's chunk file."""
    keys: dict[str, str] = {}
    for path in sorted(run.parts.glob("dataset_part_*.json")):
        keys.update(_keys_in_part(path))
    return keys


def _keys_in_part(path: Path) -> dict[str, str]:
    """Return chunk id -> cache key for the rows in a part file, which has one row per line. Skip damaged lines."""
    keys: dict[str, str] = {}
    with path.open("rb") as f:
        for line in f:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line.strip().removesuffix(b","))
                keys[str(row["chunk_id"])] = str(row["meta"]["cache_key"])
    return keys


def _plan_if_valid(folder: RunFolder) -> Plan | None:
    try:
        return read_plan(folder)
    except InvalidInputError as e:
        log.warning("%s: answers of kept models are not reused from this run: %s", folder.root, e)
        return None
