"""Work items: the chunks of a run with their cache keys. Items hold file offsets, so chunk texts stay on disk."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from insurance_rag.chunks.sections import section_name
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.record_files import first_problem
from insurance_rag.core.records import Chunk, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import asks_about_two, own_article, second_article


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A chunk for which pairs are to be generated."""

    chunk_id: str
    cache_key: str
    offset: int
    """Byte offset of the chunk's line in RUN/chunked_data.jsonl."""
    other_offset: int | None = None
    """Byte offset of the chunk that a question about this chunk needs in addition."""


def check_run_chunks(run: RunFolder, plan: Plan) -> None:
    """Raise InvalidInputError if the run's chunk file is missing or has changed since the plan was made."""
    if not run.chunks.exists() or sha256_file(run.chunks) != plan.chunks_sha256:
        raise InvalidInputError(
            f"{run.chunks}: missing or changed since {run.plan} was made; make the plan again (answers are kept)"
        )


def read_work_items(run: RunFolder, prompt_spec: PromptSpec, chunk_ids: Container[str]) -> Iterator[WorkItem]:
    """Yield a work item for each of `chunk_ids`, in the order of the chunk file."""
    style = prompt_spec.questions
    article_offsets = _article_offsets(run) if style.two_chunk_share else {}
    neighbors = _neighbor_offsets(run) if style.two_chunk_share and style.two_chunk_neighbors else {}
    for offset, chunk in _chunks_with_offsets(run):
        if chunk.chunk_id in chunk_ids:
            cited = second_article(prompt_spec, chunk) if article_offsets else None
            other = article_offsets.get((*_document_section(chunk), cited)) if cited else None
            if other is None and asks_about_two(prompt_spec, chunk):
                other = neighbors.get(offset)
            other_chunk = None if other is None else _read_at(run, other)
            cache_key = sys.intern(prompt_spec.cache_key(chunk, other_chunk))  # the journals of a run share it
            yield WorkItem(chunk.chunk_id, cache_key, offset, other)


def _chunks_with_offsets(run: RunFolder) -> Iterator[tuple[int, Chunk]]:
    offset = 0
    with run.chunks.open("rb") as f:
        for line in f:
            yield offset, _parse_chunk(run, line, offset)
            offset += len(line)


def _article_offsets(run: RunFolder) -> dict[tuple[str, str, str], int]:
    """Return the offset of the chunk that each article starts in, by (source, section, article)."""
    found: dict[tuple[str, str, str], int] = {}
    for offset, chunk in _chunks_with_offsets(run):
        if article := own_article(chunk):
            found.setdefault((*_document_section(chunk), article), offset)
    return found


def _neighbor_offsets(run: RunFolder) -> dict[int, int]:
    """Return for each chunk's offset that of the next chunk of its section, or of the one before the last chunk."""
    found: dict[int, int] = {}
    last: dict[str, int] = {}
    for offset, chunk in _chunks_with_offsets(run):
        section = section_name(chunk)
        if (before := last.get(section)) is not None:
            found[before] = offset
            found[offset] = before  # kept only if no chunk of the section follows
        last[section] = offset
    return found


def _document_section(chunk: Chunk) -> tuple[str, str]:
    """Return the document and its part within which article numbers are unique, e.g. one special clause (특별약관)."""
    headings = [heading.strip() for heading in chunk.metadata.breadcrumbs.split(">")]
    return chunk.metadata.source, " > ".join(headings[:2])


def work_items_by_shard(run: RunFolder, prompt_spec: PromptSpec, shards: Sequence[Shard]) -> dict[int, list[WorkItem]]:
    """Return each shard's work items by shard number, in the order of the chunk file."""
    shard_of = {chunk_id: shard.shard for shard in shards for chunk_id in shard.chunk_ids}
    items: dict[int, list[WorkItem]] = {shard.shard: [] for shard in shards}
    for item in read_work_items(run, prompt_spec, shard_of):
        items[shard_of[item.chunk_id]].append(item)
    return items


def read_chunk(run: RunFolder, item: WorkItem) -> Chunk:
    """Read the chunk that a work item refers to."""
    return _read_at(run, item.offset)


def read_other_chunk(run: RunFolder, item: WorkItem) -> Chunk | None:
    """Read the chunk that a question about the work item's chunk needs in addition; None if there is none."""
    return None if item.other_offset is None else _read_at(run, item.other_offset)


def _read_at(run: RunFolder, offset: int) -> Chunk:
    with run.chunks.open("rb") as f:
        f.seek(offset)
        return _parse_chunk(run, f.readline(), offset)


def _parse_chunk(run: RunFolder, line: bytes, offset: int) -> Chunk:
    try:
        return Chunk.model_validate_json(line)
    except ValidationError as e:
        raise InvalidInputError(
            f"{run.chunks}: not a chunk at byte {offset} ({first_problem(e)}); restore the file, or make the plan "
            "again (answers are kept)"
        ) from None


def missing_chunks(run: RunFolder) -> dict[str, list[str]]:
    """Return the ids of the chunks that are neither answered nor quarantined, by shard label."""
    plan = read_plan(run)
    with GenerationJournal(run.journal) as journal:
        missing = missing_work_items(run, plan, journal)
    return {plan.shard(number).label: [item.chunk_id for item in items] for number, items in missing.items()}


def missing_work_items(run: RunFolder, plan: Plan, journal: GenerationJournal) -> dict[int, list[WorkItem]]:
    """Return the work items without a journal record, by shard number. Shards without such items have no entry."""
    by_shard = work_items_by_shard(run, PromptSpec.from_config(plan.config), plan.shards)
    missing = {
        number: [item for item in items if item.cache_key not in journal] for number, items in sorted(by_shard.items())
    }
    return {number: items for number, items in missing.items() if items}
