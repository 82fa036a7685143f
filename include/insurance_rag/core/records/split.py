"""Records of what is kept out of training because evaluation questions are about it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from insurance_rag.core.records.data import Record

HoldoutUnit = Literal["document", "section", "chunk"]
"""What is held out as a whole. Section: a rider (특별약관), or a part (관) of the general conditions."""


class HeldOut(Record):
    """What is not used for training because evaluation questions are about it. At most one list has entries."""

    documents: list[str] = Field(default_factory=list)
    """Held-out documents (`metadata.source`)."""
    sections: list[str] = Field(default_factory=list)
    """Held-out sections: the document and the headings between product and article, joined by ` > `."""
    chunks: list[str] = Field(default_factory=list)
    """Ids of held-out chunks."""

    @property
    def names(self) -> list[str]:
        """Names of the documents, sections or chunks."""
        return [*self.documents, *self.sections, *self.chunks]


class SplitSummary(HeldOut):
    """What was excluded from the training files because of the evaluation questions."""

    unit: HoldoutUnit | None = None
    """What is held out as a whole; None if nothing is held out."""
    reason: str = ""
    """Why this unit was used, with the number of units that are held out."""
    held_out_chunks: int = 0
    """Number of chunks in the held-out documents or sections."""
    training_chunks: int = 0
    """Number of chunks that training rows may be about."""
    leaking_chunks: list[str] = Field(default_factory=list)
    """Ids of chunks that are not held out but nearly repeat a gold chunk. No training row is about them."""
    repeated_chunks: list[str] = Field(default_factory=list)
    """Ids of held-out chunks that nearly repeat a training chunk. No held-out row is about them."""
    questions_sha256: str | None = None
    """Hash of the evaluation questions; None if no questions were given."""
