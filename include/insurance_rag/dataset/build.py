"""Writes the data files in a dataset folder: rows in each prompt format, and rows with wrong answers."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

from insurance_rag.config import DatasetConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, VERIFY, PromptFormat
from insurance_rag.core.records import REFUSAL, Chunk, QARow
from insurance_rag.core.records.dataset import KindCounts
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.dataset.contexts import Contexts, RowContext
from insurance_rag.dataset.derived_rows import DerivedFiles, Split, fit_weights, kind_counts
from insurance_rag.dataset.draws import Draw
from insurance_rag.dataset.files import RowWriter, row_writer
from insurance_rag.dataset.formats import chat_row, format_row
from insurance_rag.dataset.number_variants import vary_numbers
from insurance_rag.dataset.overlap import overlap_auc
from insurance_rag.dataset.refusals import match_overlap, refusals_per_type
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
    weights = fit_weights(fitted, partial(_context_rows, fitted))
    with _open_files(folder, config) as files:
        derived = DerivedFiles(training, weights, *files.derived)
        heldout_derived = DerivedFiles(heldout, weights, *files.heldout_derived)
        for n, (i, shown) in enumerate(zip(rows.training, _context_rows(training, rows.training), strict=True)):
            derived.write(i, shown)
            _count(shown, stats)
            stats.evidence_cut += sum(_write(each, files.training) for each in shown)
            for each in shown if n % every == 0 else ():
                if each.context:
                    overlaps[each.row["answerable"]].append(contexts.overlap(each.row, each.context))
            on_row()
        for i, shown in zip(rows.heldout, _context_rows(heldout, rows.heldout), strict=True):
            heldout_derived.write(i, shown)
            for each in shown:
                _write(each, files.heldout)
            on_row()
    stats.overlap_auc = overlap_auc(overlaps[True], overlaps[False])
    stats.rows = {name: writer.rows for name, writer in files.by_name.items()}
    stats.preferences = kind_counts(derived.preferences, heldout_derived.preferences)
    stats.verifier = kind_counts(derived.verifier, heldout_derived.verifier)
    return stats


def _context_rows(split: Split, selected: Sequence[int]) -> Iterator[list[ContextRow]]:
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
