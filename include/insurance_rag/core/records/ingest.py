"""Records that reading documents writes: the manifest of a chunk file, and the difference between two editions."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record


class LeftOut(Record):
    """Text of a document that is in no chunk."""

    page: int
    """Page number; 0 if the format has no pages."""
    reason: str
    """Why it was left out, e.g. `page_number` or `contents`."""
    text: str
    characters: int


class PageCoverage(Record):
    """How much of a page's body is in chunks."""

    page: int
    characters: int
    """Characters of the body, without whitespace and brackets, and without text that is not part of the body."""
    covered: int
    """Characters of the body that are in a chunk's text or headings."""


class OutlineEntry(Record):
    """An article or another section of a document, in document order."""

    part: str
    divisions: list[str]
    """Headings between the part and the section, e.g. `제1관 목적`."""
    title: str
    page: int
    chunk_ids: list[str]


class IngestedDocument(Record):
    """One document and what was read from it."""

    id: str
    """First part of the ids of its chunks."""
    source: str
    sha256: str
    kind: str
    """Format, e.g. `pdf`."""
    company: str
    product: str
    policy_type: str
    guessed: list[str]
    """Which of company, product and policy_type nobody has set."""
    divided_by: str
    """What the chunks are: `articles`, `headings`, `pages` or `paragraphs`."""
    pages: int
    chunks: int
    articles: int
    characters: int
    """Characters of the body, without whitespace and brackets."""
    coverage: float = Field(ge=0, le=1)
    """Fraction of the body's characters that are in chunks."""
    warnings: list[str]


class IngestManifest(Record):
    """Manifest of a chunk file. It is written last, so the chunk file is complete if the hash is right."""

    version: str
    """Version of the program that divides documents into chunks."""
    chunks_sha256: str
    inputs_sha256: str
    """Hash of the documents, the settings and the previous edition; empty if some documents could not be read."""
    has_changes: bool
    """Whether the chunks were compared with a previous edition."""
    settings: dict[str, str | int | float | bool]
    documents: list[IngestedDocument]
    warnings: list[str]
    """Warnings that are not about the content of one document, e.g. a document that was given twice."""


class ChangedChunk(Record):
    """A chunk of both editions whose text differs."""

    old: str
    new: str
    similarity: float
    """Jaccard similarity of the character 3-grams, without whitespace."""


class MovedChunk(Record):
    """A chunk whose text is at another place in the new edition."""

    old: str
    new: str
    same_heading: bool
    """Whether the heading is the same, too. A new article number counts as a different heading."""


class EditionChanges(Record):
    """Difference between two editions, as chunk ids."""

    added: list[str]
    changed: list[ChangedChunk]
    moved: list[MovedChunk]
    removed: list[str]
    unchanged: list[str]

    @property
    def counts(self) -> ChangeCounts:
        return ChangeCounts(
            added=len(self.added),
            changed=len(self.changed),
            moved=len(self.moved),
            removed=len(self.removed),
            unchanged=len(self.unchanged),
        )


class ChangeCounts(Record):
    """Number of chunks per kind of change."""

    added: int
    changed: int
    moved: int
    removed: int
    unchanged: int


class IngestArtifact(Artifact):
    """A chunk file and a summary of the documents that it was made from."""

    documents: int
    chunks: int
    coverage: float
    """Fraction of the characters of all documents that are in chunks."""
    changes: ChangeCounts | None
    """Difference from the previous edition; None without one."""
    warnings: list[str]
    report: str
    """Absolute path of the report."""
    reused: bool
    """Whether nothing was read because neither the documents nor the settings have changed."""
