"""Keeps evaluation data out of training.

The documents that evaluation questions ask about are held out. Chunks in other documents that repeat a gold chunk are
not used for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, Question
from insurance_rag.korean import remove_whitespace
from insurance_rag.validation.shingles import hashed_shingles, jaccard, shingles

NGRAM = 5
CHUNKS_AT_ONCE = 5000
"""Maximum number of chunks hashed in one array operation. This limits memory use."""


@dataclass(frozen=True)
class Split:
    """Documents, chunks and questions that are kept out of training. Empty if there are no evaluation questions."""

    documents: frozenset[str] = frozenset()
    """Names of the held-out documents (`metadata.source`)."""
    leaking: frozenset[str] = frozenset()
    """Ids of chunks in other documents that repeat a gold chunk."""
    questions: frozenset[str] = frozenset()
    """Evaluation questions with all whitespace removed."""
    sha256: str | None = None
    """Hash of the evaluation questions."""

    def may_train(self, chunk: Chunk) -> bool:
        """Return whether training rows may ask about this chunk or contain it in their context."""
        return chunk.metadata.source not in self.documents and chunk.chunk_id not in self.leaking


def make_split(chunks: Sequence[Chunk], questions: Sequence[Question], config: ValidationConfig) -> Split:
    """Return the split for these evaluation questions.

    Raises InvalidInputError if the questions name unknown chunks, if no document is left for training, or if the
    questions' hash differs from `config.questions_sha256`.
    """
    chunk_by_id = {chunk.chunk_id: chunk for chunk in chunks}
    gold_ids = sorted({i for question in questions for i in question.gold_chunk_ids})
    sha256 = sha256_text(*sorted(question.model_dump_json() for question in questions))
    problems = []
    if unknown := [i for i in gold_ids if i not in chunk_by_id]:
        problems.append(_unknown_gold_chunks(unknown))
    if config.questions_sha256 not in (None, sha256):
        problems.append(
            f"evaluation questions: the hash is {sha256}, but questions_sha256 is {config.questions_sha256}; "
            "restore the file or update the setting"
        )
    documents = frozenset(chunk_by_id[i].metadata.source for i in gold_ids if i in chunk_by_id)
    if documents and documents == {chunk.metadata.source for chunk in chunks}:
        problems.append(
            "evaluation questions: they hold out every document, so no training data is left; "
            "ask about fewer documents or add documents"
        )
    if problems:
        raise InvalidInputError(problems)
    training = [chunk for chunk in chunks if chunk.metadata.source not in documents]
    leaking = similar_chunks(training, [chunk_by_id[i].text for i in gold_ids], config.leak_similarity)
    return Split(documents, leaking, frozenset(remove_whitespace(q.question) for q in questions), sha256)


def _unknown_gold_chunks(ids: Sequence[str]) -> str:
    named = ", ".join(map(repr, ids[:3])) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    return f"evaluation questions: gold chunks missing from the chunk file: {named}; use the matching files"


def similar_chunks(chunks: Sequence[Chunk], gold: Sequence[str], min_similarity: float) -> frozenset[str]:
    """Return the ids of the chunks whose Jaccard similarity to any gold text is at least `min_similarity`."""
    if not gold or not chunks:
        return frozenset()
    gold_hashes = np.unique(hashed_shingles(gold, NGRAM)[0])
    gold_shingles = [shingles(text, NGRAM) for text in gold]
    found = set()
    for start in range(0, len(chunks), CHUNKS_AT_ONCE):
        batch = chunks[start : start + CHUNKS_AT_ONCE]
        flat, offsets = hashed_shingles([chunk.text for chunk in batch], NGRAM)
        shared = np.add.reduceat(np.isin(flat, gold_hashes).astype(np.int64), offsets[:-1])
        # A chunk's similarity to a gold text is at most the fraction of its n-grams that occur in gold texts. This
        # fraction is small for most chunks, so they can be skipped.
        for i in np.flatnonzero(shared >= min_similarity * np.diff(offsets) - 1).tolist():
            own = shingles(batch[i].text, NGRAM)
            if any(jaccard(own, other) >= min_similarity for other in gold_shingles):
                found.add(batch[i].chunk_id)
    return frozenset(found)
