"""The split: documents of evaluation questions are held out, and chunks that repeat a gold chunk are not trained on."""

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
"""Chunks that are hashed in one array operation; bounds the memory."""


@dataclass(frozen=True)
class Split:
    """What the evaluation questions keep out of training. Empty if there are no questions."""

    documents: frozenset[str] = frozenset()
    """Held-out documents (`metadata.source`)."""
    leaking: frozenset[str] = frozenset()
    """Ids of chunks of other documents that repeat a gold chunk."""
    questions: frozenset[str] = frozenset()
    """The questions without whitespace."""
    sha256: str | None = None
    """Hash of the questions."""

    def may_train(self, chunk: Chunk) -> bool:
        """Return whether rows and contexts of the training files may use this chunk."""
        return chunk.metadata.source not in self.documents and chunk.chunk_id not in self.leaking


def make_split(chunks: Sequence[Chunk], questions: Sequence[Question], config: ValidationConfig) -> Split:
    """Return the split for these questions.

    Raises InvalidInputError if the questions name unknown chunks, hold out every document, or differ from the frozen
    ones (`questions_sha256`).
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
    """Return the ids of the chunks whose text is at least this similar to one of the gold texts."""
    if not gold or not chunks:
        return frozenset()
    gold_hashes = np.unique(hashed_shingles(gold, NGRAM)[0])
    gold_shingles = [shingles(text, NGRAM) for text in gold]
    found = set()
    for start in range(0, len(chunks), CHUNKS_AT_ONCE):
        batch = chunks[start : start + CHUNKS_AT_ONCE]
        flat, offsets = hashed_shingles([chunk.text for chunk in batch], NGRAM)
        shared = np.add.reduceat(np.isin(flat, gold_hashes).astype(np.int64), offsets[:-1])
        # A chunk can only reach the similarity if that share of its n-grams occurs in gold texts; few chunks do.
        for i in np.flatnonzero(shared >= min_similarity * np.diff(offsets) - 1).tolist():
            own = shingles(batch[i].text, NGRAM)
            if any(jaccard(own, other) >= min_similarity for other in gold_shingles):
                found.add(batch[i].chunk_id)
    return frozenset(found)
