"""Settings for turning documents into chunks."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from insurance_rag.core.config_base import Config


class IngestConfig(Config):
    """Settings that decide how documents are divided into chunks, and what is known about the documents.

    A file `documents.yaml` in a folder of documents sets company, product, policy type and id for each file. Its values
    take precedence over the ones here.
    """

    company: str = ""
    """Name of the insurer. If it is empty, the name is searched for in the document."""
    product: str = ""
    """Name of the product. If it is empty, the document's title is used."""
    policy_type: str = ""
    """Kind of insurance, e.g. `암보험`. If it is empty, the kind is derived from the product's name."""
    document_id: str = ""
    """First part of every chunk id. Only for a single document. If it is empty, the id is derived from the product's
    name, so that a new edition gets the same ids; without a name, from the file name."""
    max_characters: int = Field(default=1200, ge=200, le=20_000)
    """Maximum length of a chunk. Longer articles are split at paragraphs (항), then at items (호, 목), then between
    sentences. A single sentence or row of a table is never split."""
    min_characters: int = Field(default=150, ge=0)
    """Pieces of a split article that are shorter than this are joined with the piece next to them if both fit into one
    chunk."""
    page_pictures: bool = True
    """Show pictures of the pages of a PDF in the report, next to their chunks. Otherwise the report shows their
    text."""
    pictures_megabytes: float = Field(default=8.0, gt=0, le=200)
    """Size limit for all page pictures of a report together. The pictures of many pages are smaller; if even that is
    too much, only the first pages get pictures."""

    @model_validator(mode="after")
    def _pieces_fit(self) -> Self:
        if self.min_characters > self.max_characters // 2:
            raise ValueError(
                f"min_characters: {self.min_characters} is more than half of max_characters ({self.max_characters}); "
                "lower it"
            )
        return self


class DocumentSettings(Config):
    """What `documents.yaml` says about one file."""

    company: str = ""
    product: str = ""
    policy_type: str = ""
    id: str = ""
