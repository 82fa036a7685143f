"""Makes the rows for training a verifier: right answers, which the policy supports, and wrong ones, which it does not.

About half of the rows show a right answer. The wrong ones have faults of different kinds, or are right answers with
chunks that do not support them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from insurance_rag.chunks.headings import chunk_header
from insurance_rag.config import DatasetConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.prompt_templates import (
    SUPPORTED,
    UNSUPPORTED,
    VERIFY,
    ContextChunkText,
    question_with_answer,
)
from insurance_rag.core.records import Chunk, QARow
from insurance_rag.core.records.dataset import VerifierRow
from insurance_rag.dataset.contexts import Contexts
from insurance_rag.dataset.faulty_answers import FAULTS, FaultyAnswer, RightAnswer, insert_fault
from insurance_rag.dataset.kind_balance import weighted_order

RIGHT, OTHER_CONTEXT = "right", "other_context"
"""Kinds of rows that show the right answer."""


def verifier_rows(
    row: QARow, contexts: Contexts, hits: Sequence[str], weights: Mapping[str, float], config: DatasetConfig
) -> list[VerifierRow]:
    """Return the rows that are made from one answerable row: as many with a right as with a wrong answer.

    They are two of each if the answer can be shown in two contexts, with and without distractors. `weights` are those
    of the faults (see `balanced_weights`). Returns nothing if the row's chunk is unknown.
    """
    alone = contexts.alone(row)
    if alone is None or not row["answerable"]:
        return []
    rng = _rng(row, config.seed)
    several = contexts.with_distractors(row, hits)
    shown = [alone.chunks] if several is None or len(several.chunks) == len(alone.chunks) else [several.chunks]
    if shown[0] != alone.chunks:
        shown.append(alone.chunks)
    other = contexts.refusal_context(row, hits) if rng.random() < config.other_context_share * len(shown) else None
    wrong = [] if other is None else [_row(row, other.chunks, OTHER_CONTEXT)]
    for faulty in _faulty_answers(row, alone.chunks, weights, rng):
        if len(wrong) == len(shown):
            break
        wrong.append(_row(row, shown[len(wrong)], faulty.kind, faulty))
    right = [_row(row, chunks, RIGHT) for chunks in shown[: max(1, len(wrong))]]
    return [*right, *wrong]


def possible_faults(row: QARow, contexts: Contexts, seed: int) -> frozenset[str]:
    """Return the faults that can be inserted into the answer of a row."""
    alone = contexts.alone(row)
    if alone is None or not row["answerable"]:
        return frozenset()
    return frozenset(
        faulty.kind for faulty in _faulty_answers(row, alone.chunks, dict.fromkeys(FAULTS, 1.0), _rng(row, seed))
    )


def _faulty_answers(row: QARow, gold: Sequence[Chunk], weights: Mapping[str, float], rng: Random) -> list[FaultyAnswer]:
    """Return the answer with every fault that it can have, in the order in which they are to be used."""
    source = RightAnswer(row["instruction"], row["output"], tuple(chunk.text for chunk in gold))
    faulty = (insert_fault(kind, source, rng) for kind in weighted_order(weights, rng))
    return [each for each in faulty if each is not None]


def _row(row: QARow, chunks: Sequence[Chunk], kind: str, faulty: FaultyAnswer | None = None) -> VerifierRow:
    answer = row["output"] if faulty is None else faulty.text
    context = VERIFY.context(ContextChunkText(chunk.text, chunk_header(chunk)) for chunk in chunks)
    return {
        "prompt": VERIFY.prompt(question_with_answer(row["instruction"], answer), context),
        "completion": SUPPORTED if kind == RIGHT else UNSUPPORTED,
        "chunk_id": row["chunk_id"],
        "type": row["type"],
        "kind": kind,
        "label": "supported" if kind == RIGHT else "unsupported",
        "answer": answer,
        "wrong": [] if faulty is None else faulty.wrong,
    }


def _rng(row: QARow, seed: int) -> Random:
    return Random(sha256_text(str(seed), "verifier", row["chunk_id"], row["instruction"], row["output"]))
