"""Read one document and divide it into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from insurance_rag.config.ingest import IngestConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.ingest import EditionChanges, IngestedDocument, LeftOut, OutlineEntry, PageCoverage
from insurance_rag.ingest.build import DocumentFacts, build_chunks
from insurance_rag.ingest.coverage import Coverage, measure_coverage
from insurance_rag.ingest.document import Document
from insurance_rag.ingest.headings import without_separator
from insurance_rag.ingest.ids import slug
from insurance_rag.ingest.outline import Outline
from insurance_rag.ingest.paragraphs import Paragraph, read_paragraphs
from insurance_rag.ingest.product import find_company, policy_type_of, strip_version
from insurance_rag.ingest.sources import Source
from insurance_rag.ingest.structure import read_outline
from insurance_rag.korean.injection import model_instructions

LOW_COVERAGE = 0.98
"""A document with a lower coverage gets a warning."""
MAX_PAGES_LISTED = 8
MAX_INSTRUCTIONS_LISTED = 3
MAX_INSTRUCTION_CHARACTERS = 80


@dataclass(frozen=True)
class ReadDocument:
    """A document with its chunks and everything that the report shows about it."""

    source: Source
    document: Document
    record: IngestedDocument
    chunks: tuple[Chunk, ...]
    outline: tuple[OutlineEntry, ...]
    pages: tuple[PageCoverage, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Result:
    """All documents that were read, and how their chunks differ from the previous edition."""

    documents: tuple[ReadDocument, ...]
    chunks: tuple[Chunk, ...]
    previous: tuple[Chunk, ...]
    """Chunks of the previous edition; empty without one."""
    changes: EditionChanges | None
    warnings: tuple[str, ...]


def read_source(source: Source, config: IngestConfig) -> ReadDocument:
    """Read a document and return its chunks. Raises an InvalidInputError if it cannot be read or has no text."""
    from insurance_rag.ingest.readers import read_document

    document = read_document(source.path)
    paragraphs = read_paragraphs(document)
    if not paragraphs:
        raise InvalidInputError(f"{source.path}: contains no text; check the file, or run OCR if it has only pictures")
    outline = read_outline(paragraphs, document.n_pages)
    facts, guessed = _facts(source, document, outline, paragraphs, config)
    built = build_chunks(outline, facts, config)
    if not built.chunks:
        raise InvalidInputError(f"{source.path}: contains headings but no text below them; check the file")
    coverage = measure_coverage(document, outline, built.chunks)
    record = IngestedDocument(
        id=facts.id,
        source=facts.source,
        sha256=facts.sha256,
        kind=document.kind,
        company=facts.company,
        product=facts.product,
        policy_type=facts.policy_type,
        guessed=guessed,
        divided_by=outline.divided_by,
        pages=document.n_pages,
        chunks=len(built.chunks),
        articles=sum(section.number is not None for section in outline.sections),
        characters=coverage.characters,
        coverage=coverage.covered / coverage.characters if coverage.characters else 1.0,
        warnings=[
            *document.warnings,
            *outline.warnings,
            *_warnings(facts, guessed, coverage),
            *_instruction_warnings(built.chunks),
        ],
    )
    return ReadDocument(source, document, record, built.chunks, built.outline, coverage.pages, coverage.left_out)


def _facts(
    source: Source, document: Document, outline: Outline, paragraphs: list[Paragraph], config: IngestConfig
) -> tuple[DocumentFacts, list[str]]:
    """Return what is known about the document, and which fields were guessed from its text."""
    own, stem = source.settings, strip_version(source.path.stem)
    product = without_separator(own.product or config.product or outline.title or stem)
    company = own.company or config.company or find_company(paragraphs, [r.text for r in document.removed])
    policy_type = own.policy_type or config.policy_type or policy_type_of(product)
    given = {
        "company": own.company or config.company,
        "product": own.product or config.product,
        "policy_type": own.policy_type or config.policy_type,
    }
    # The product that the options give is the same for all documents of a folder, so it does not identify one.
    named = own.product or outline.title or stem
    facts = DocumentFacts(
        id=slug(own.id or config.document_id or named),
        source=source.name,
        sha256=source.sha256,
        company=company,
        product=product,
        policy_type=policy_type,
    )
    return facts, [name for name, value in given.items() if not value]


def _warnings(facts: DocumentFacts, guessed: list[str], coverage: Coverage) -> list[str]:
    warnings = []
    if derived := ", ".join(f"{name} {getattr(facts, name)!r}" for name in guessed if getattr(facts, name)):
        warnings.append(f"derived from the document: {derived}; set them with options or in documents.yaml if wrong")
    if not facts.company:
        warnings.append("the document does not name the insurer; set --company or `company` in documents.yaml")
    if coverage.covered < LOW_COVERAGE * coverage.characters:
        worst = sorted(coverage.pages, key=lambda page: page.covered - page.characters)[:MAX_PAGES_LISTED]
        pages = sorted(page.page for page in worst if page.page and page.covered < page.characters)
        where = f" (mainly pages {', '.join(map(str, pages))})" if pages else ""
        share = coverage.covered / coverage.characters
        warnings.append(f"only {share:.1%} of the text is in chunks{where}; see the report for what is missing")
    return warnings


def _instruction_warnings(chunks: Sequence[Chunk]) -> list[str]:
    """Return a warning if chunks give orders to a language model. Policies do not; validation drops their rows."""
    found = [(chunk.chunk_id, passages[0]) for chunk in chunks if (passages := model_instructions(chunk.text))]
    if not found:
        return []
    listed = "; ".join(f"{i}: {text[:MAX_INSTRUCTION_CHARACTERS]!r}" for i, text in found[:MAX_INSTRUCTIONS_LISTED])
    return [
        f"{len(found)} chunks address a language model ({listed}); remove these passages from the document if they do "
        "not belong to the policy: validation drops all rows of such chunks"
    ]
