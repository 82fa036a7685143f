"""Chooses what each row shows in prompt formats with retrieved contexts, and from which rows refusals are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import REFUSAL, QARow
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.dataset.contexts import RowContext
from insurance_rag.dataset.derived_rows import Split
from insurance_rag.dataset.draws import Draw
from insurance_rag.dataset.number_variants import vary_numbers
from insurance_rag.dataset.refusals import match_overlap, near_miss_rows, refusals_per_type, spread
from insurance_rag.dataset.rows import ContextRow


def context_rows(split: Split, selected: Sequence[int]) -> Iterator[list[ContextRow]]:
    """Yield every selected row with its contexts and, for chosen rows, refusal rows with the same question."""
    rows, contexts, config = split.rows, split.contexts, split.config
    plan = plan_contexts(split, selected)
    for i in selected:
        row, hits = rows.read(i), rows.hits(i)
        with_distractors = rows.draw(i, config.seed, Draw.DISTRACTORS) < config.distractor_share
        context = contexts.with_distractors(row, hits) if with_distractors else contexts.alone(row)
        found = [ContextRow(row, context)]
        found += [_repetition(split, i, row, n) for n in range(1, plan.near_misses.get(i, split.contexts_per_row))]
        if refusal := plan.refusals.get(i):
            found.append(ContextRow(_refused(row), refusal.first, made_refusal=True))
            for n in range(1, refusal.number):
                if again := contexts.refusal_context(row, hits, n):
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


@dataclass(frozen=True)
class MadeRefusals:
    """The contexts without the answer that one answerable row gets."""

    first: RowContext
    number: int
    """Number of contexts, with `first`."""


@dataclass(frozen=True)
class ContextPlan:
    """How many contexts the rows get, by the position of the row."""

    near_misses: dict[int, int]
    """Number of contexts of each near miss. Answerable rows get `contexts_per_row`."""
    refusals: dict[int, MadeRefusals]
    """Refusal rows to make from answerable rows."""


def plan_contexts(split: Split, selected: Sequence[int]) -> ContextPlan:
    """Choose how many contexts near misses get, and from which answerable rows refusal rows are also made.

    Near misses are at most `near_miss_share` of all rows, unless one context each is more. Enough refusal rows are made
    to reach `unanswerable_share`. Every question type gets the same fraction, and the words that the questions share
    with the contexts are distributed like those of answerable rows.
    """
    rows, config = split.rows, split.config
    order = sorted(selected, key=lambda i: (rows.draw(i, config.seed, Draw.REFUSAL), i))
    near_misses = [i for i in order if not rows.answerable[i]]
    answerable: dict[str, list[int]] = {}
    for i in order:
        if rows.answerable[i]:
            answerable.setdefault(rows.types(i), []).append(i)
    counts = {kind: len(members) * split.contexts_per_row for kind, members in answerable.items()}
    n_near_misses = near_miss_rows(len(near_misses), split.contexts_per_row, sum(counts.values()), config)
    wanted = refusals_per_type(counts, n_near_misses, config.unanswerable_share)
    refusals: dict[int, MadeRefusals] = {}
    for kind, n in wanted.items():
        refusals |= _make_refusals(split, answerable[kind], n)
    return ContextPlan(spread(n_near_misses, near_misses), refusals)


def _make_refusals(split: Split, order: Sequence[int], wanted: int) -> dict[int, MadeRefusals]:
    """Choose rows out of `order`, which is random, for `wanted` refusals, and contexts that lack the answer.

    A row gets a second refusal only after every row has one, and never more than `contexts_per_row`.
    """
    rows, contexts = split.rows, split.contexts

    def make(i: int) -> tuple[float, RowContext] | None:
        row = rows.read(i)
        found = contexts.refusal_context(row, rows.hits(i))
        return None if found is None else (contexts.overlap(row, found), found)

    def answerable_overlap(i: int) -> float:
        row = rows.read(i)
        own = contexts.alone(row)
        return contexts.overlap(row, own) if own else 0.0

    chosen = match_overlap([answerable_overlap(i) for i in order[::-1][:wanted]], order, make)
    numbers = spread(min(wanted, len(chosen) * split.contexts_per_row), list(chosen))
    return {i: MadeRefusals(first, numbers[i]) for i, first in chosen.items()}
