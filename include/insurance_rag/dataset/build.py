"""From validated rows to training files: which row goes into which file, and what context it shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from insurance_rag.config import DatasetConfig
from insurance_rag.dataset.contexts import Contexts
from insurance_rag.dataset.examples import chat_example, merged_example, plain_example, rag_example
from insurance_rag.dataset.files import RowWriter, row_writer
from insurance_rag.records import REFUSAL, Chunk

PLAIN, RAG, MERGED = "train_dataset.json", "train_dataset_rag.json", "train_dataset_final_v2.json"
HELDOUT, CHAT = "heldout.json", "train_dataset_chat.json"

Row = dict[str, Any]
Hashes = Any  # numpy uint64, one a row


@dataclass
class Built:
    """Rows of each file, and how the RAG rows are made up."""

    rows: dict[str, int] = field(default_factory=dict)
    unanswerable: int = 0
    with_distractors: int = 0
    distractors: int = 0


def build_datasets(
    training: Sequence[int],
    heldout: Sequence[int],
    row: Callable[[int], Row],
    digests: Hashes,
    chunks: Sequence[Chunk],
    out: Path,
    config: DatasetConfig,
    on_row: Callable[[], None] = lambda: None,
) -> Built:
    """Write every data file of `out`: `row(i)` reads a row, `digests[i]` is its hash, `chunks` may be trained on."""
    contexts = Contexts(chunks, config)
    refused = choose_unanswerable(training, row, digests, contexts, config)
    crowded = {i for i in training if _chance(digests[i], config.seed, 1) < config.distractor_share}
    built = Built()
    with _writers(out, config) as writers:
        for i in training:
            one = row(i)
            if one["answerable"]:
                writers[PLAIN].write(plain_example(one))
            writers[MERGED].write(merged_example(one))
            for example in _rag_examples(one, i in crowded, refused.get(i), contexts):
                _write_rag(example, writers, built)
            on_row()
        for i in heldout:
            writers[HELDOUT].write(rag_example(row(i)))
            on_row()
    built.rows = {name: writer.rows for name, writer in writers.items()}
    return built


def choose_unanswerable(
    training: Sequence[int], row: Callable[[int], Row], digests: Hashes, contexts: Contexts, config: DatasetConfig
) -> dict[int, list[Chunk]]:
    """Rows whose question is asked once more without its answer, and the clauses shown then, to reach the share.

    Generated rows that are labelled unanswerable count towards the share.
    """
    if not training or config.unanswerable_share == 0:
        return {}
    there = sum(not row(i)["answerable"] for i in training)
    share = config.unanswerable_share
    wanted = round((share * len(training) - there) / (1 - share))
    chosen: dict[int, list[Chunk]] = {}
    for i in sorted(training, key=lambda i: (_chance(digests[i], config.seed, 2), i)):
        if len(chosen) >= wanted:
            break
        one = row(i)
        if one["answerable"] and (clauses := contexts.without_answer(one)):
            chosen[i] = clauses
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


def _chance(digest: Any, seed: int, purpose: int) -> float:
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


def chances(digests: Hashes, seed: int) -> Any:
    """One number a row by which a cap decides what it leaves out."""
    return np.array([_chance(d, seed, 3) for d in digests])
