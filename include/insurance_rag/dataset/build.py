"""Writes the data files in a dataset folder: one per prompt format, the held-out rows and the chat rows."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from insurance_rag.config import DatasetConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, RAG, PromptFormat
from insurance_rag.core.records import REFUSAL, Chunk, QARow
from insurance_rag.dataset.contexts import Contexts
from insurance_rag.dataset.draws import Draw, hash_uniform
from insurance_rag.dataset.files import RowWriter, row_writer
from insurance_rag.dataset.formats import chat_row, format_row


@dataclass(frozen=True)
class DatasetRows:
    """The selected rows, by row number. `read` loads one row at a time, because a million rows do not fit in memory."""

    training: Sequence[int]
    heldout: Sequence[int]
    read: Callable[[int], QARow]
    digests: NDArray[np.uint64]
    """Content hashes of all rows, including rows that were not selected."""
    answerable: NDArray[np.bool_]
    """For each row, whether it is labeled answerable. Includes rows that were not selected."""

    def draw(self, i: int, seed: int, draw: Draw) -> float:
        """Return a uniform random number in [0, 1) that depends only on the row's content, `seed` and `draw`."""
        return hash_uniform(int(self.digests[i]), seed, draw)


@dataclass
class BuildStats:
    """Counts of the rows that were written."""

    rows: dict[str, int] = field(default_factory=dict)
    """Maps the name of each data file to its number of rows."""
    retrieved_context_rows: int = 0
    """Number of rows in prompt formats with retrieved contexts. A row in several of these formats counts once."""
    unanswerable: int = 0
    """Number of rows in `retrieved_context_rows` whose context lacks the answer."""
    with_distractors: int = 0


@dataclass(frozen=True)
class ContextRow:
    """A row, and its context in prompt formats with retrieved contexts."""

    row: QARow
    chunks: Sequence[Chunk] = ()
    """Chunks in the context. If empty, the context is the row's own chunk."""


@dataclass(frozen=True)
class DataFiles:
    """Writers for the open data files."""

    training: Sequence[tuple[PromptFormat, RowWriter]]
    heldout: RowWriter
    chat: RowWriter | None
    by_name: dict[str, RowWriter]


def build_datasets(
    rows: DatasetRows,
    chunks: Sequence[Chunk],
    folder: DatasetFolder,
    config: DatasetConfig,
    on_row: Callable[[], None] = lambda: None,
) -> BuildStats:
    """Write all data files and return the row counts.

    `chunks` are the chunks that may be used for training. `on_row` is called after each selected row.
    """
    contexts = Contexts(chunks, config)
    refusals = choose_refusals(rows, contexts, config)
    stats = BuildStats()
    with _open_files(folder, config) as files:
        for i in rows.training:
            row = rows.read(i)
            with_distractors = rows.draw(i, config.seed, Draw.DISTRACTORS) < config.distractor_share
            context_rows = _context_rows(row, with_distractors, refusals.get(i, []), contexts)
            _write_training_row(row, context_rows, files)
            _count(context_rows, stats)
            on_row()
        for i in rows.heldout:
            files.heldout.write(format_row(RAG, rows.read(i)))
            on_row()
    stats.rows = {name: writer.rows for name, writer in files.by_name.items()}
    return stats


def choose_refusals(rows: DatasetRows, contexts: Contexts, config: DatasetConfig) -> dict[int, list[Chunk]]:
    """Choose rows from which a refusal row is also made. Map each chosen row to a context that lacks the answer.

    Enough rows are chosen to reach the configured fraction of unanswerable rows. Rows that were generated as
    unanswerable count toward this fraction.
    """
    share = config.unanswerable_share
    existing = sum(not rows.answerable[i] for i in rows.training)
    wanted = round((share * len(rows.training) - existing) / (1 - share))
    chosen: dict[int, list[Chunk]] = {}
    if wanted <= 0:
        return chosen
    for i in sorted(rows.training, key=lambda i: (rows.draw(i, config.seed, Draw.REFUSAL), i)):
        if rows.answerable[i] and (chunks := contexts.refusal_context(rows.read(i))):
            chosen[i] = chunks
        if len(chosen) >= wanted:
            break
    return chosen


def _context_rows(
    row: QARow, with_distractors: bool, refusal_chunks: Sequence[Chunk], contexts: Contexts
) -> list[ContextRow]:
    """Return the row with its context and, if `refusal_chunks` is not empty, a refusal row with the same question."""
    found = [ContextRow(row, contexts.with_distractors(row) if with_distractors and row["answerable"] else ())]
    if refusal_chunks:
        refusal_row: QARow = {**row, "type": "unanswerable", "output": REFUSAL, "evidence": "", "answerable": False}
        found.append(ContextRow(refusal_row, refusal_chunks))
    return found


def _write_training_row(row: QARow, context_rows: Sequence[ContextRow], files: DataFiles) -> None:
    for prompt_format, writer in files.training:
        for shown in context_rows if prompt_format.retrieved_contexts else [ContextRow(row)]:
            if prompt_format.answerable_only and not shown.row["answerable"]:
                continue
            formatted = format_row(prompt_format, shown.row, shown.chunks)
            writer.write(formatted)
            if prompt_format is RAG and files.chat is not None:
                files.chat.write(chat_row(formatted))


def _count(context_rows: Sequence[ContextRow], stats: BuildStats) -> None:
    stats.retrieved_context_rows += len(context_rows)
    stats.unanswerable += sum(not shown.row["answerable"] for shown in context_rows)
    stats.with_distractors += sum(len(shown.chunks) > 1 for shown in context_rows)


@contextlib.contextmanager
def _open_files(folder: DatasetFolder, config: DatasetConfig) -> Iterator[DataFiles]:
    """Open all data files. They appear under their final names only if the block ends without an error.

    Raises InvalidInputError if a prompt format has the same file name as another format or data file.
    """
    names = Counter([folder.heldout.name, folder.chat.name, *(entry.file for entry in PROMPT_FORMATS.entries.values())])
    if shared := [name for name, n in names.items() if n > 1]:
        raise InvalidInputError(
            [f"several prompt formats write {name}; register each with its own file" for name in shared]
        )
    with contextlib.ExitStack() as stack:

        def open_file(path: Path) -> RowWriter:
            return stack.enter_context(row_writer(path, folder.parquet(path) if config.parquet else None))

        training = [(entry, open_file(folder.training(name))) for name, entry in PROMPT_FORMATS.entries.items()]
        heldout = open_file(folder.heldout)
        chat = open_file(folder.chat) if config.chat else None
        by_name = {entry.file: writer for entry, writer in training} | {folder.heldout.name: heldout}
        if chat is not None:
            by_name[folder.chat.name] = chat
        yield DataFiles(training, heldout, chat, by_name)
