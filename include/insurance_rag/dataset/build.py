"""Writes the data files in a dataset folder: rows in each prompt format, and rows with wrong answers."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from insurance_rag.config import DatasetConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, VERIFY, PromptFormat
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.dataset import KindCounts
from insurance_rag.dataset.context_rows import context_rows
from insurance_rag.dataset.contexts import Contexts
from insurance_rag.dataset.derived_rows import DerivedFiles, Split, fit_weights, kind_counts
from insurance_rag.dataset.files import RowWriter, row_writer
from insurance_rag.dataset.formats import chat_row, format_row
from insurance_rag.dataset.overlap import overlap_auc
from insurance_rag.dataset.rows import ContextRow, DatasetRows

MAX_MEASURED = 5000
"""Approximate number of rows whose word overlap is measured. More rows do not change the second digit."""


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
    evidence_cut: int = 0
    """Number of rows left out of a format because its length limit would cut off the evidence."""
    overlap_auc: float | None = None
    """How well word overlap predicts a refusal (see `overlap_auc`)."""
    preferences: KindCounts = field(default_factory=KindCounts)
    verifier: KindCounts = field(default_factory=KindCounts)


Files = Sequence[tuple[PromptFormat, RowWriter]]
DerivedWriters = tuple[RowWriter | None, RowWriter | None]
"""Writers of preference pairs and of rows for a verifier; None for files that are not configured."""


@dataclass(frozen=True)
class DataFiles:
    """Writers for the open data files."""

    training: Files
    heldout: Files
    derived: DerivedWriters
    heldout_derived: DerivedWriters
    by_name: dict[str, RowWriter]


def build_datasets(
    rows: DatasetRows,
    trainable: Sequence[Chunk],
    chunks: Sequence[Chunk],
    folder: DatasetFolder,
    config: DatasetConfig,
    on_row: Callable[[], None] = lambda: None,
) -> BuildStats:
    """Write all data files and return the row counts.

    `trainable` are the chunks that training rows may show, and `chunks` those that held-out rows may show. Held-out
    rows are made like training rows, with distractors and refusals. `on_row` is called after each selected row.
    """
    stats = BuildStats()
    contexts, heldout_contexts = Contexts(trainable, config), Contexts(chunks, config)
    overlaps: dict[bool, list[float]] = {True: [], False: []}
    every = max(1, len(rows.training) // MAX_MEASURED)
    training, heldout = (
        Split(rows, rows.training, contexts, config, config.contexts_per_row),
        Split(rows, rows.heldout, heldout_contexts, config),
    )
    fitted = training if rows.training else heldout
    weights = fit_weights(fitted, partial(context_rows, fitted))
    with _open_files(folder, config) as files:
        derived = DerivedFiles(training, weights, *files.derived)
        heldout_derived = DerivedFiles(heldout, weights, *files.heldout_derived)
        for n, (i, shown) in enumerate(zip(rows.training, context_rows(training, rows.training), strict=True)):
            derived.write(i, shown)
            _count(shown, stats)
            stats.evidence_cut += sum(_write(each, files.training) for each in shown)
            for each in shown if n % every == 0 else ():
                if each.context:
                    overlaps[each.row["answerable"]].append(contexts.overlap(each.row, each.context))
            on_row()
        for i, shown in zip(rows.heldout, context_rows(heldout, rows.heldout), strict=True):
            heldout_derived.write(i, shown)
            for each in shown:
                _write(each, files.heldout)
            on_row()
    stats.overlap_auc = overlap_auc(overlaps[True], overlaps[False])
    stats.rows = {name: writer.rows for name, writer in files.by_name.items()}
    stats.preferences = kind_counts(derived.preferences, heldout_derived.preferences)
    stats.verifier = kind_counts(derived.verifier, heldout_derived.verifier)
    return stats


def _write(shown: ContextRow, files: Files) -> int:
    """Write the row in every prompt format that takes it. Return in how many formats its evidence would be cut off."""
    cut = 0
    for form, writer in files:
        context = shown.context if form.retrieved_contexts else None
        if shown.repetition and context is None:
            continue
        if shown.made_refusal and (context is None or (context.needs_headers and not form.chunk_headers)):
            continue
        if form.answerable_only and not shown.row["answerable"]:
            continue
        formatted = format_row(form, shown.row, context.chunks if context else ())
        if formatted is None:
            cut += 1
            continue
        writer.write(chat_row(formatted) if form.chat else formatted)
    return cut


def _count(context_rows: Sequence[ContextRow], stats: BuildStats) -> None:
    stats.retrieved_context_rows += len(context_rows)
    stats.unanswerable += sum(not shown.row["answerable"] for shown in context_rows)
    stats.with_distractors += sum(shown.context is not None and len(shown.context.chunks) > 1 for shown in context_rows)


@contextlib.contextmanager
def _open_files(folder: DatasetFolder, config: DatasetConfig) -> Iterator[DataFiles]:
    """Open all data files. They appear under their final names only if the block ends without an error.

    Raises InvalidInputError if a prompt format has the same file name as another format or data file.
    """
    formats = {
        name: entry
        for name, entry in PROMPT_FORMATS.entries.items()
        if not entry.judges_answers and (config.chat or not entry.chat)
    }
    heldout_names = [folder.heldout(name).name for name in formats]
    derived = folder.preferences, folder.training(VERIFY.name)
    heldout_derived = folder.heldout_preferences, folder.heldout(VERIFY.name)
    own_names = [path.name for path in (*derived, *heldout_derived)]
    names = Counter([*heldout_names, *own_names, *(entry.file for entry in formats.values())])
    if shared := [name for name, n in names.items() if n > 1]:
        raise InvalidInputError(
            [f"several prompt formats write {name}; register each with its own file" for name in shared]
        )
    with contextlib.ExitStack() as stack:
        by_name: dict[str, RowWriter] = {}

        def open_file(path: Path) -> RowWriter:
            parquet = folder.parquet(path) if config.parquet else None
            by_name[path.name] = stack.enter_context(row_writer(path, parquet))
            return by_name[path.name]

        def open_derived(pairs: Path, verifier: Path) -> DerivedWriters:
            return (
                open_file(pairs) if config.preferences else None,
                open_file(verifier) if config.verifier_rows else None,
            )

        training = [(entry, open_file(folder.training(name))) for name, entry in formats.items()]
        heldout = [(entry, open_file(folder.heldout(name))) for name, entry in formats.items()]
        yield DataFiles(
            training,
            heldout,
            open_derived(*derived),
            open_derived(*heldout_derived),
            by_name,
        )
