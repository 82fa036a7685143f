"""Keeps evaluation data out of training.

The documents or sections that evaluation questions ask about are held out. Chunks outside them that repeat a gold chunk
are not used for training, and held-out chunks that repeat a training chunk are not used for the held-out loss.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, Question, SplitSummary
from insurance_rag.korean import remove_whitespace
from insurance_rag.validation.holdout import Holdout, choose_holdout
from insurance_rag.validation.similar_texts import similar_pairs

log = logging.getLogger(__name__)

NGRAM = 5
_ARTICLE_NUMBER = re.compile(r"^\s*제\s?\d+\s?조(?:의\s?\d+)?")
"""The number with which a chunk begins. Riders repeat short standard articles under different numbers."""


@dataclass(frozen=True)
class Split:
    """Chunks and questions that are kept out of training. Empty if there are no evaluation questions."""

    held_out: frozenset[str] = frozenset()
    """Ids of the chunks in the held-out documents or sections."""
    leaking: frozenset[str] = frozenset()
    """Ids of chunks that nearly repeat a chunk on the other side of the split. Rows about them are dropped."""
    questions: frozenset[str] = frozenset()
    """Evaluation questions with all whitespace removed."""
    summary: SplitSummary = field(default_factory=SplitSummary)
    """The split as the report shows it."""

    def may_train(self, chunk: Chunk) -> bool:
        """Return whether training rows may ask about this chunk or contain it in their context."""
        return chunk.chunk_id not in self.held_out and chunk.chunk_id not in self.leaking


def make_split(chunks: Sequence[Chunk], questions: Sequence[Question], config: ValidationConfig) -> Split:
    """Return the split for these evaluation questions.

    Raises InvalidInputError if the questions name unknown chunks, if nothing is left for training, or if the questions'
    hash differs from `config.questions_sha256`.
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
    if problems:
        raise InvalidInputError(problems)
    asked = frozenset(remove_whitespace(question.question) for question in questions)
    if not gold_ids:
        return Split(questions=asked, summary=SplitSummary(training_chunks=len(chunks), questions_sha256=sha256))
    holdout = choose_holdout(chunks, [chunk_by_id[i] for i in gold_ids], config.holdout)
    return _split(chunks, holdout, frozenset(gold_ids), asked, sha256, config.leak_similarity)


def _split(
    chunks: Sequence[Chunk],
    holdout: Holdout,
    gold_ids: frozenset[str],
    asked: frozenset[str],
    sha256: str,
    min_similarity: float,
) -> Split:
    held_out = [chunk for chunk in chunks if holdout.holds_out(chunk)]
    others = [chunk for chunk in chunks if not holdout.holds_out(chunk)]
    leaking, repeated = _repeats(others, held_out, gold_ids, min_similarity)
    if len(leaking) == len(others):
        raise holdout.no_training_data(f"every chunk outside the held-out {holdout.unit}s repeats a gold chunk")
    left = len(others) - len(leaking)
    log.info("evaluation questions: %s; %d of %d chunks are left for training", holdout.reason, left, len(chunks))
    summary = SplitSummary(
        **dict(holdout.record),
        unit=holdout.unit,
        reason=holdout.reason,
        held_out_chunks=len(held_out),
        training_chunks=left,
        leaking_chunks=sorted(leaking),
        repeated_chunks=sorted(repeated),
        questions_sha256=sha256,
    )
    return Split(frozenset(chunk.chunk_id for chunk in held_out), leaking | repeated, asked, summary)


def _repeats(
    others: Sequence[Chunk], held_out: Sequence[Chunk], gold_ids: frozenset[str], min_similarity: float
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ids of the chunks in `others` that repeat a gold chunk, and of the held-out chunks that repeat one of
    the remaining `others`."""
    texts, held_out_texts = ([_ARTICLE_NUMBER.sub("", chunk.text) for chunk in side] for side in (others, held_out))
    pairs = similar_pairs(texts, held_out_texts, NGRAM, min_similarity)
    repeats = {others[i].chunk_id: {held_out[j].chunk_id for j in similar} for i, similar in pairs}
    leaking = frozenset(i for i, similar in repeats.items() if similar & gold_ids)
    repeated = frozenset(j for i, similar in repeats.items() if i not in leaking for j in similar)
    return leaking, repeated


def _unknown_gold_chunks(ids: Sequence[str]) -> str:
    named = ", ".join(map(repr, ids[:3])) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    return f"evaluation questions: gold chunks missing from the chunk file: {named}; use the matching files"
