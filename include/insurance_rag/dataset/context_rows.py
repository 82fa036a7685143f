"""Chooses what each row shows in prompt formats with retrieved contexts, and from which rows refusals are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from insurance_rag.config import DatasetConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import REFUSAL, QARow
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.dataset.contexts import Contexts, RowContext
from insurance_rag.dataset.derived_rows import Split
from insurance_rag.dataset.draws import Draw
from insurance_rag.dataset.number_variants import vary_numbers
from insurance_rag.dataset.refusals import match_overlap, refusals_per_type
from insurance_rag.dataset.rows import ContextRow, DatasetRows


def context_rows(split: Split, selected: Sequence[int]) -> Iterator[list[ContextRow]]:
    """Yield every selected row with its contexts and, for chosen rows, refusal rows with the same question."""
    rows, contexts, config = split.rows, split.contexts, split.config
    refusals = choose_refusals(rows, selected, contexts, config)
    for i in selected:
        row, hits = rows.read(i), rows.hits(i)
        with_distractors = rows.draw(i, config.seed, Draw.DISTRACTORS) < config.distractor_share
        context = contexts.with_distractors(row, hits) if with_distractors else contexts.alone(row)
        found = [ContextRow(row, context)]
        if refusal := refusals.get(i):
            found.append(ContextRow(_refused(row), refusal, made_refusal=True))
        for n in range(1, split.contexts_per_row):
            found.append(_repetition(split, i, row, n))
            if i in refusals and (again := contexts.refusal_context(row, hits, n)):
                found.append(ContextRow(_refused(row), again, made_refusal=True, repetition=n))
        yield found


def _repetition(split: Split, i: int, row: QARow, n: int) -> ContextRow:
    """Return the n-th repetition of a row: with other distractors and, if possible, with other numbers."""
    config, contexts = split.config, split.contexts
    rng = Random(
        sha256_text(str(config.seed), "repetition", str(n), row["chunk_id"], row["instruction"], row["output"])
    )
    several = rng.random() < config.distractor_share
    context = contexts.with_distractors(row, split.rows.hits(i), n) if several else contexts.alone(row)
    own = next((chunk for chunk in context.chunks if chunk.chunk_id == row["chunk_id"]), None) if context else None
    varied = vary_numbers(row, own, rng) if own is not None and config.vary_numbers else None
    if context is None or varied is None or OTHER_CHUNK_ID in row["meta"]:
        return ContextRow(row, context, repetition=n)
    new_row, new_chunk = varied
    chunks = tuple(new_chunk if chunk is own else chunk for chunk in context.chunks)
    return ContextRow(new_row, replace(context, chunks=chunks), repetition=n)


def _refused(row: QARow) -> QARow:
    return {**row, "type": "unanswerable", "output": REFUSAL, "evidence": "", "answerable": False}


def choose_refusals(
    rows: DatasetRows, selected: Sequence[int], contexts: Contexts, config: DatasetConfig
) -> dict[int, RowContext]:
    """Choose rows from which a refusal row is also made. Map each chosen row to a context that lacks the answer.

    Enough rows are chosen to reach the configured fraction of unanswerable rows. Rows that were generated as
    unanswerable count toward this fraction. Every question type gets the same fraction, and the words that the
    questions share with the contexts are distributed like those of answerable rows.
    """
    answerable: dict[str, list[int]] = {}
    for i in selected:
        if rows.answerable[i]:
            answerable.setdefault(rows.types(i), []).append(i)
    counts = {kind: len(members) for kind, members in answerable.items()}
    wanted = refusals_per_type(counts, len(selected) - sum(counts.values()), config.unanswerable_share)
    chosen: dict[int, RowContext] = {}

    def make(i: int) -> tuple[float, RowContext] | None:
        row = rows.read(i)
        found = contexts.refusal_context(row, rows.hits(i))
        return None if found is None else (contexts.overlap(row, found), found)

    def answerable_overlap(i: int) -> float:
        row = rows.read(i)
        own = contexts.alone(row)
        return contexts.overlap(row, own) if own else 0.0

    for kind, n in wanted.items():
        order = sorted(answerable[kind], key=lambda i: (rows.draw(i, config.seed, Draw.REFUSAL), i))
        chosen |= match_overlap([answerable_overlap(i) for i in order[::-1][:n]], order, make)
    return chosen
