"""Make chunks from the sections of a document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from insurance_rag.config.ingest import IngestConfig
from insurance_rag.core.records import Chunk, ChunkMetadata
from insurance_rag.core.records.ingest import OutlineEntry
from insurance_rag.ingest.fallback import WHOLE
from insurance_rag.ingest.ids import unique_slugs
from insurance_rag.ingest.outline import Outline, Section
from insurance_rag.ingest.references import ArticleIndex, references
from insurance_rag.ingest.sections import INTRODUCTION
from insurance_rag.ingest.split import Piece, split_section
from insurance_rag.korean import remove_whitespace

TOKENS_PER_CHARACTER = 0.54
"""Tokens per character of policy text, on average over common tokenizers for Korean."""


@dataclass(frozen=True)
class DocumentFacts:
    """What is known about a document, apart from its text."""

    id: str
    source: str
    sha256: str
    company: str
    product: str
    policy_type: str


@dataclass(frozen=True)
class BuiltDocument:
    chunks: tuple[Chunk, ...]
    outline: tuple[OutlineEntry, ...]


@dataclass(frozen=True)
class _Placed:
    """A piece with its section and its chunk id."""

    section: Section
    piece: Piece
    chunk_id: str
    is_first: bool


def build_chunks(outline: Outline, facts: DocumentFacts, config: IngestConfig) -> BuiltDocument:
    """Return the chunks of a document in document order, and the outline with their ids."""
    placed = [*_place(outline, facts, config)]
    index = ArticleIndex()
    for each in placed:
        if each.section.number:
            index.add(each.section.part, each.section.number, each.piece.label, each.chunk_id)
    chunks = [_chunk(each, position, facts, index) for position, each in enumerate(placed, 1)]
    entries: dict[int, OutlineEntry] = {}
    for each in placed:
        section = each.section
        entry = entries.get(id(section))
        ids = [*(entry.chunk_ids if entry else []), each.chunk_id]
        title = section.heading or (section.divisions[-1] if section.divisions else section.part)
        entries[id(section)] = OutlineEntry(
            part=section.part, divisions=[*section.divisions], title=title, page=section.page, chunk_ids=ids
        )
    return BuiltDocument(tuple(chunks), tuple(entries.values()))


def mark_duplicates(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return the chunks; one whose text an earlier chunk has gets that chunk's id as `duplicate_of`."""
    first: dict[str, str] = {}
    marked = []
    for chunk in chunks:
        original = first.setdefault(remove_whitespace(chunk.text), chunk.chunk_id)
        if original != chunk.chunk_id:
            metadata = chunk.metadata.model_copy(update={"duplicate_of": original})
            chunk = chunk.model_copy(update={"metadata": metadata})
        marked.append(chunk)
    return marked


def _place(outline: Outline, facts: DocumentFacts, config: IngestConfig) -> Iterator[_Placed]:
    """Yield all pieces with their ids: document / part / section / piece."""
    parts = [*dict.fromkeys(section.part for section in outline.sections)]
    part_slugs = dict(zip(parts, unique_slugs([(part, "") for part in parts]), strict=True))
    slugs: dict[str, Iterator[str]] = {}
    for part in parts:
        sections = [section for section in outline.sections if section.part == part]
        slugs[part] = iter(unique_slugs([_name(section) for section in sections]))
    for section in outline.sections:
        heading = _heading(section)
        path = f"{facts.id}/{part_slugs[section.part]}/{next(slugs[section.part])}"
        room = max(config.max_characters - len(heading) - 1, config.max_characters // 2)
        for n, piece in enumerate(split_section(section.paragraphs, room, config.min_characters)):
            yield _Placed(section, piece, f"{path}/{piece.label}" if piece.label else path, is_first=n == 0)


def _name(section: Section) -> tuple[str, str]:
    """Return the section's part of the id, and the title that is added if several sections have the same one."""
    if section.label:
        return section.label, section.title
    name = section.heading or (section.divisions[-1] if section.divisions else WHOLE)
    return name, ""


def _heading(section: Section) -> str:
    """Return the heading with which every chunk of the section begins."""
    if section.heading or section.kind != "text":
        return section.heading
    invented = section.part in (INTRODUCTION, WHOLE) or section.part == f"{section.page}쪽"
    return "" if invented else section.divisions[-1] if section.divisions else section.part


def _chunk(placed: _Placed, position: int, facts: DocumentFacts, index: ArticleIndex) -> Chunk:
    section, piece = placed.section, placed.piece
    headings = [facts.product, section.part, *section.divisions, section.heading]
    text = "\n".join(line for line in (_heading(section), *piece.lines) if line)
    body = "\n".join(piece.lines)
    metadata = {
        "source": facts.source,
        "company": facts.company,
        "breadcrumbs": " > ".join(heading for heading in headings if heading),
        "token_count": math.ceil(TOKENS_PER_CHARACTER * len(text)),
        "policy_type": facts.policy_type,
        "document": facts.id,
        "document_sha256": facts.sha256,
        "kind": section.kind,
        "article": section.label,
        "title": section.title,
        "page": section.page if placed.is_first else piece.page,
        "page_end": max(piece.page_end, section.page),
        "position": position,
        "references": references(body, section.part, section.number, index),
    }
    return Chunk(chunk_id=placed.chunk_id, text=text, metadata=ChunkMetadata.model_validate(metadata))
