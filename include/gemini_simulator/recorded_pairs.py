"""Question-answer pairs that were written by hand about the sample policies.

For these chunks the simulator answers as a good teacher would: in the words of customers, with calculations, and with
questions about details that the policy does not state. The folder `recorded` has one file per policy and one line per
chunk. A chunk is recognized by its product and its text, so that a changed chunk has no recorded pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

FOLDER = Path(__file__).with_name("recorded")
TWO_CHUNKS = "two_chunks"
"""Form of a pair that needs a second chunk."""


class RecordedPair(BaseModel):
    """A pair written by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    form: str = ""
    """`yes`, `no`, `calculation`, `two_chunks`, `near_miss`, or empty for an open question."""
    question: str
    answer: str
    evidence: str = ""
    """Verbatim quote from the chunk; empty if the question is unanswerable."""


class RecordedChunk(BaseModel):
    """One line of a file: the pairs about one chunk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    chunk_sha256: str
    """Hash of the chunk's text."""
    pairs: tuple[RecordedPair, ...]


def recorded_pairs(product: str, chunk_text: str, question_type: str, *, two_chunks: bool) -> Sequence[RecordedPair]:
    """Return the recorded pairs of one type about a chunk; empty if the chunk is not a sample chunk.

    `product` may begin with the company. `two_chunks` selects the pairs that need a second chunk.
    """
    sha256 = hashlib.sha256(chunk_text.encode()).hexdigest()
    found = (chunk for chunk in _by_text().get(sha256, ()) if product.endswith(chunk.product))
    pairs = (pair for chunk in found for pair in chunk.pairs)
    return [pair for pair in pairs if pair.type == question_type and (pair.form == TWO_CHUNKS) == two_chunks]


@cache
def _by_text() -> Mapping[str, Sequence[RecordedChunk]]:
    """Return the recorded chunks by the hash of their text. Policies share some texts."""
    chunks: dict[str, list[RecordedChunk]] = {}
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            chunk = RecordedChunk.model_validate_json(line)
            chunks.setdefault(chunk.chunk_sha256, []).append(chunk)
    return chunks
