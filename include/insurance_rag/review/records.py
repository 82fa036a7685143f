"""Records of a review: the items that a person looks at, and the decisions about them.

An item is identified by a key that is a hash of its content. A decision therefore applies to the same row or question
in every later run, and no longer applies once the content changes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records.data import Record

ReviewKind = Literal["row", "question"]
ReviewAction = Literal["approve", "edit", "reject"]

#: Kind -> names of the text fields that a reviewer may edit.
EDITABLE_FIELDS: dict[ReviewKind, tuple[str, ...]] = {
    "row": ("question", "answer", "evidence"),
    "question": ("question", "reference_answer", "required_numbers"),
}


def row_key(question: str, answer: str, chunk_text: str) -> str:
    """Return the key of a row. Differences in whitespace and in the Unicode normal form do not change it."""
    return content_key("row", [question, answer, chunk_text])


def question_key(question: str, gold_chunk_ids: Iterable[str]) -> str:
    """Return the key of an evaluation question. The order of the gold chunks does not matter."""
    return content_key("question", [question, *sorted(gold_chunk_ids)])


def content_key(kind: ReviewKind, parts: Iterable[str]) -> str:
    """Return a hash of the parts without their whitespace, as 32 hexadecimal digits."""
    squeezed = ("".join(unicodedata.normalize("NFC", part).split()) for part in parts)
    return sha256_text(kind, *squeezed)[:32]


class ReviewFinding(Record):
    """What a rule or a check found in an item."""

    rule: str
    title: str = ""
    title_ko: str = ""
    span: str = Field(default="", description="part of the item that breaks the rule")


class ReviewChunk(Record):
    """A chunk that is shown next to an item."""

    chunk_id: str
    header: str = Field(default="", description="company, product and headings of the chunk")
    text: str = ""


class ReviewItem(Record):
    """One row of a dataset, or one question of a question set, as a reviewer sees it."""

    kind: ReviewKind
    key: str
    fields: dict[str, str] = Field(description="text fields, named as in EDITABLE_FIELDS")
    type: str = ""
    answerable: bool = True
    shard: str = Field(default="", description="label of the shard that generated the item")
    dropped: bool = Field(default=False, description="whether a rule or a check dropped the item")
    approvable: bool = Field(default=True, description="whether approving a dropped item keeps it")
    findings: list[ReviewFinding] = Field(default_factory=list)
    chunks: list[ReviewChunk] = Field(default_factory=list, description="the chunks that the item is about")
    evidence: str = Field(default="", description="quote from the chunks that supports the answer")
    facts: dict[str, str] = Field(default_factory=dict, description="other facts about the item, e.g. the teacher")


class Decision(Record):
    """What a person decided about one item."""

    kind: ReviewKind
    key: str
    action: ReviewAction
    reason: str = Field(default="", max_length=2000, description="why; required for a rejection")
    fields: dict[str, str] = Field(default_factory=dict, description="new texts of the edited fields")
    reviewer: str = ""
    time: str = Field(default="", description="when the decision was made, in UTC (ISO 8601)")
    version: int = Field(default=0, description="number of this record among the records about the item, from 1")


class ReviewEvent(Record):
    """One line of the journal: a decision, or the undoing of the newest decision that has not been undone."""

    kind: ReviewKind
    key: str
    action: Literal["approve", "edit", "reject", "undo"]
    reason: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    reviewer: str = ""
    time: str = ""
    version: int
