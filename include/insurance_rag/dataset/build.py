"""From validated rows to training files: which row goes into which file, and what context it shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from insurance_rag.config import DatasetConfig
from insurance_rag.core.records import REFUSAL, Chunk
from insurance_rag.dataset.contexts import Contexts
from insurance_rag.dataset.examples import chat_example, merged_example, plain_example, rag_example
from insurance_rag.dataset.files import RowWriter, row_writer

PLAIN, RAG, MERGED = "train_dataset.json", "train_dataset_rag.json", "train_dataset_final_v2.json"
HELDOUT, CHAT = "heldout.json", "train_dataset_chat.json"

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """Row numbers in order, and what is known of each: `row(i)` reads it, `digests[i]` is its content's hash."""

    training: Sequence[int]
    heldout: Sequence[int]
    row: Callable[[int], Row]
    digests: Any
    answerable: Sequence[bool]

    def chance(self, i: int, seed: int, purpose: int) -> float:
        """A number in [0, 1) that belongs to the row's content."""
        return chance(self.digests[i], seed, purpose)


@dataclass
class Built:
    """Rows of each file, and how the RAG rows are made up."""

    rows: dict[str, int] = field(default_factory=dict)
    unanswerable: int = 0
    with_distractors: int = 0
    distractors: int = 0


def build_datasets(
    rows: Rows,
    chunks: Sequence[Chunk],
    out: Path,
    config: DatasetConfig,
    on_row: Callable[[], None] = lambda: None,
) -> Built:
    """Write every data file of `out`; `chunks` are those that may be trained on."""
    contexts = Contexts(chunks, config)
    refused = choose_unanswerable(rows, contexts, config)
    built = Built()
    with _writers(out, config) as writers:
        for i in rows.training:
            one = rows.row(i)
            if one["answerable"]:
                writers[PLAIN].write(plain_example(one))
            writers[MERGED].write(merged_example(one))
            crowded = rows.chance(i, config.seed, 1) < config.distractor_share
            for example in _rag_examples(one, crowded, refused.get(i), contexts):
                _write_rag(example, writers, built)
            on_row()
        for i in rows.heldout:
            writers[HELDOUT].write(rag_example(rows.row(i)))
            on_row()
    built.rows = {name: writer.rows for name, writer in writers.items()}
    return built


def choose_unanswerable(rows: Rows, contexts: Contexts, config: DatasetConfig) -> dict[int, list[Chunk]]:
    """Rows whose question is asked once more without its answer, and the clauses shown then, to reach the share.

    Generated rows that are labelled unanswerable count towards the share.
    """
    share = config.unanswerable_share
    there = sum(not rows.answerable[i] for i in rows.training)
    wanted = round((share * len(rows.training) - there) / (1 - share))
    chosen: dict[int, list[Chunk]] = {}
    for i in sorted(rows.training, key=lambda i: (rows.chance(i, config.seed, 2), i)) if wanted > 0 else []:
        if rows.answerable[i] and (clauses := contexts.without_answer(rows.row(i))):
            chosen[i] = clauses
        if len(chosen) >= wanted:
            break
    return chosen


def _rag_examples(one: Row, crowded: bool, refused: list[Chunk] | None, contexts: Contexts) -> Iterator[Row]:
    yield rag_example(one, contexts.with_distractors(one) if crowded and one["answerable"] else None)
    if refused:
        twin = {**one, "type": "unanswerable", "output": REFUSAL, "evidence": "", "answerable": False}
        yield rag_example(twin, refused)


def _write_rag(example: Row, writers: dict[str, RowWriter], built: Built) -> None:
    writers[RAG].write(example)
    if CHAT in writers:
        writers[CHAT].write(chat_example(example))
    beside = len(example["context_chunk_ids"]) - 1
    built.unanswerable += not example["answerable"]
    built.with_distractors += beside > 0
    built.distractors += beside


def chance(digest: Any, seed: int, purpose: int) -> float:
    """A number in [0, 1) that belongs to the row's content."""
    mixed = (int(digest) ^ (seed * 0x9E3779B97F4A7C15) ^ (purpose << 40)) * 0xD6E8FEB86659FD93 % 2**64
    return ((mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93 % 2**64) / 2**64


@contextlib.contextmanager
def _writers(out: Path, config: DatasetConfig) -> Iterator[dict[str, RowWriter]]:
    names = [PLAIN, RAG, MERGED, HELDOUT] + [CHAT] * config.chat
    with contextlib.ExitStack() as stack:
        writers = {}
        for name in names:
            parquet = out / "parquet" / f"{Path(name).stem}.parquet" if config.parquet else None
            writers[name] = stack.enter_context(row_writer(out / name, parquet))
        yield writers


def chances(digests: Any, seed: int) -> Any:
    """One number a row by which a cap decides what it leaves out."""
    return np.array([chance(d, seed, 3) for d in digests])
