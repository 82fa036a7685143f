"""The split: documents of evaluation questions are held out, and clauses that repeat a gold clause train nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, Question
from insurance_rag.korean import squeeze
from insurance_rag.validation.shingles import hashed_shingles, jaccard, shingles

GRAMS = 5


@dataclass(frozen=True)
class Split:
    """Documents (metadata.source) kept from training, training chunks that leak, and the questions themselves."""

    documents: frozenset[str] = frozenset()
    leaking: frozenset[str] = frozenset()
    questions: frozenset[str] = frozenset()
    sha256: str | None = None

    def may_train(self, chunk: Chunk) -> bool:
        return chunk.metadata.source not in self.documents and chunk.chunk_id not in self.leaking


def make_split(chunks: Sequence[Chunk], questions: Sequence[Question], config: ValidationConfig) -> Split:
    """InvalidInputError where questions name unknown clauses, hold out every document, or are not the frozen ones."""
    known = {chunk.chunk_id: chunk for chunk in chunks}
    gold_ids = sorted({i for question in questions for i in question.gold_chunk_ids})
    sha256 = sha256_text(*sorted(question.model_dump_json() for question in questions))
    problems = [f"evaluation questions: gold chunk {i!r} is not among the clauses" for i in gold_ids if i not in known]
    if config.questions_sha256 not in (None, sha256):
        problems.append(
            f"evaluation questions: hash {sha256}, not the frozen {config.questions_sha256}; restore the file"
        )
    documents = frozenset(known[i].metadata.source for i in gold_ids if i in known)
    if documents and documents == {chunk.metadata.source for chunk in chunks}:
        problems.append(
            "evaluation questions: their clauses lie in every document, none is left to train on; hold out fewer"
        )
    if problems:
        raise InvalidInputError(problems)
    training = [chunk for chunk in chunks if chunk.metadata.source not in documents]
    leaking = near_clauses(training, [known[i].text for i in gold_ids], config.leak_similarity)
    return Split(documents, leaking, frozenset(squeeze(q.question) for q in questions), sha256)


def near_clauses(chunks: Sequence[Chunk], gold: Sequence[str], least: float) -> frozenset[str]:
    """Ids of the chunks whose text is at least this similar to a gold clause."""
    if not gold or not chunks:
        return frozenset()
    gold_hashes = np.unique(hashed_shingles(gold, GRAMS)[0])
    gold_shingles = [shingles(text, GRAMS) for text in gold]
    found = set()
    for at in range(0, len(chunks), 5000):
        some = chunks[at : at + 5000]
        flat, offsets = hashed_shingles([chunk.text for chunk in some], GRAMS)
        shared = np.add.reduceat(np.isin(flat, gold_hashes).astype(np.int64), offsets[:-1])
        # A similarity of `least` needs that share of the clause's n-grams among the gold ones: few pass.
        for i in np.flatnonzero(shared >= least * np.diff(offsets) - 1).tolist():
            mine = shingles(some[i].text, GRAMS)
            if any(jaccard(mine, theirs) >= least for theirs in gold_shingles):
                found.add(some[i].chunk_id)
    return frozenset(found)
