"""Validates part files and writes the dataset folder: training files, rejected rows, report and card.

The result depends only on the rows, the chunks, the questions and the configuration, not on the number or the order of
the part files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.core.artifacts import describe, manifest_path
from insurance_rag.core.dataset_folder import DatasetFolder, read_validation_report
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write, write_json, write_jsonl
from insurance_rag.core.hashing import sha256_file, sha256_text
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import (
    Artifact,
    Chunk,
    DatasetArtifact,
    DatasetManifest,
    QARow,
    Question,
    RejectedRow,
    ValidationReport,
)
from insurance_rag.dataset.balance import OVER_CAP
from insurance_rag.dataset.build import build_datasets
from insurance_rag.dataset.card import render_card
from insurance_rag.dataset.contexts import product
from insurance_rag.dataset.funnel import render_funnel
from insurance_rag.dataset.hub import push_to_hub
from insurance_rag.dataset.licenses import with_license
from insurance_rag.dataset.rows import DatasetRows
from insurance_rag.korean.injection import model_instructions
from insurance_rag.korean.text import clean
from insurance_rag.review.apply import read_row_reviews
from insurance_rag.validation.contamination import Split, make_split
from insurance_rag.validation.cross_row_rules import apply_cross_row_rules
from insurance_rag.validation.drift import compare_reports
from insurance_rag.validation.parts import find_parts, part_labels, read_blocks
from insurance_rag.validation.repaired_answers import rejected_answers
from insurance_rag.validation.report import ReportInputs, make_report
from insurance_rag.validation.retrievability import NO_CHUNK, UNRANKED, Ranking, rank_rows
from insurance_rag.validation.reviewed_rows import REJECTED
from insurance_rag.validation.row_checks import UNREADABLE_ROW_RULES, CheckSetup, check_blocks
from insurance_rag.validation.rules.injection import INJECTION
from insurance_rag.validation.rules.registry import RULES, RankRule, chunk_labels
from insurance_rag.validation.selection import Selection, select_rows
from insurance_rag.validation.table import NOT_DROPPED, RowTable


def validate_parts(
    parts: Sequence[Path],
    chunks: Sequence[Chunk] | None,
    out: Path,
    config: ValidationConfig | None = None,
    *,
    questions: Sequence[Question] | None = None,
    previous: Path | None = None,
    progress: Path | None = None,
    complete: bool = True,
    reviews: Path | None = None,
) -> DatasetArtifact:
    """Validate the rows in `parts` (part files or folders that contain them) and write the dataset folder `out`.

    Without `chunks`, each row is compared with its own `input`. The documents or sections that `questions` ask about
    are held out of training. `previous` is an earlier report.json, for measuring drift. `progress` is the folder for
    progress files.
    `complete` is only recorded in the artifact. `reviews` is the folder with the decisions of reviewers: rejected rows
    are dropped, edited rows are replaced and then checked like all others, and approved rows pass the rules about
    quality.

    Raises InvalidInputError if the parts or the earlier report cannot be read, or if the questions do not match the
    chunks. In these cases, no data file is written.
    """
    decided = read_row_reviews(reviews)
    config = _with_required_rules(config or ValidationConfig(), bool(questions), bool(decided.decisions))
    files = find_parts(parts)
    before = read_validation_report(previous) if previous else None
    if questions and not chunks:
        raise InvalidInputError(
            "--questions: the documents and sections of their chunks are unknown; give --chunks as well"
        )
    # Rows are cleaned when they are read, so the chunks must be cleaned too. Otherwise, a quote would not match its
    # chunk if the chunk contains a soft hyphen.
    known = {chunk.chunk_id: chunk.model_copy(update={"text": clean(chunk.text)}) for chunk in chunks or []}
    config = with_license(config, known.values())
    split = make_split(list(known.values()), questions, config) if questions else Split()
    texts = None if chunks is None else {i: chunk.text for i, chunk in known.items()}
    folder, labels = DatasetFolder(out), part_labels(files)
    with contextlib.closing(RowTable(out, texts)) as table:
        setup = CheckSetup(config, texts, split.leaking, split.questions, reviews=decided, held_out=split.held_out)
        fill_table(table, files, setup, known, progress)
        ranking = _apply_rank_rules(table, list(known.values()), config, progress)
        selection = select_rows(table, known, split, config.dataset)
        trainable = [chunk for chunk in known.values() if split.may_train(chunk) and not _is_injected(chunk, config)]
        content = _dataset_rows(table, selection, ranking, list(known))
        content = replace(content, rejected=rejected_answers(table, config.rules))
        total = len(selection.training) + len(selection.heldout)
        with Progress("validate", "files", total=total, unit="rows", folder=progress) as bar:
            stats = build_datasets(content, trainable, list(known.values()), folder, config.dataset, bar.advance)
        inputs = ReportInputs(
            table, selection, stats, split, ranking.ranks, config, labels, list(known.values()), decided.records
        )
        report = make_report(inputs)
        write_jsonl(folder.rejects, _rejected_rows(table, selection, config, labels))
    if before:
        report = report.model_copy(update={"drift": compare_reports(report, before)})
    return _finish(folder, report, files, config.dataset.push_to_hub, complete)


def _with_required_rules(config: ValidationConfig, has_questions: bool, has_reviews: bool) -> ValidationConfig:
    """Add the rules that the input needs if they are not configured.

    These are a rule for unreadable rows, `leak` if there are evaluation questions, and REJECTED if there are decisions
    of reviewers. A rejection comes before the other rules, so that the report shows it as the reason.
    """
    rules = config.rules
    if not any(name in rules for name in UNREADABLE_ROW_RULES):
        rules = (UNREADABLE_ROW_RULES[0], *rules)
    if has_questions and "leak" not in rules:
        rules = (*rules, "leak")
    if has_reviews and REJECTED not in rules:
        first = next(n for n, name in enumerate((*rules, "")) if name not in UNREADABLE_ROW_RULES)
        rules = (*rules[:first], REJECTED, *rules[first:])
    return config.model_copy(update={"rules": rules})


def fill_table(
    table: RowTable,
    files: Sequence[Path],
    setup: CheckSetup,
    chunks: dict[str, Chunk],
    progress: Path | None = None,
) -> None:
    """Add all rows in `files` to the table, and apply the row rules and the cross-row rules."""
    products = {i: product(chunk) for i, chunk in chunks.items()}
    labels = {i: chunk_labels(chunk) for i, chunk in chunks.items()}
    setup = replace(setup, labels=labels, several_products=len(set(products.values())) > 1)
    with Progress("validate", "rows", total=0, unit="rows", folder=progress) as bar:
        for checked in check_blocks(read_blocks(files), setup):
            table.add(checked)
            bar.total += len(checked.rows)  # the total is unknown until the files are read
            bar.advance(len(checked.rows))
        if not len(table):
            raise InvalidInputError([f"{path}: contains no rows; generate this part again" for path in files])
        table.freeze()
        apply_cross_row_rules(table, setup.config, lambda chunk_id: products.get(chunk_id, ""))
        table.release_signatures()


def _apply_rank_rules(
    table: RowTable, chunks: Sequence[Chunk], config: ValidationConfig, progress: Path | None
) -> Ranking:
    """Rank the rows that have passed so far, drop those that a rank rule rejects, and return the ranking."""
    rules = [(n, rule) for n, name in enumerate(config.rules) if isinstance(rule := RULES[name], RankRule)]
    if not config.retriever_check or not rules:
        return Ranking.empty(len(table))
    passed = table.passed()
    with Progress("validate", "retriever", total=len(passed), unit="questions", folder=progress) as bar:
        ranking = rank_rows(table, passed, chunks, config, bar.advance)
    ranks = ranking.ranks
    for i in np.flatnonzero(ranks != UNRANKED).tolist():
        for position, rule in rules:
            if (span := rule.check(int(ranks[i]), config)) is not None:
                table.drop(i, position, span)
                break
    return ranking


def _dataset_rows(table: RowTable, selection: Selection, ranking: Ranking, chunk_ids: Sequence[str]) -> DatasetRows:
    def read(i: int) -> QARow:
        row = table.row(i).as_qa_row()
        if ranking.ranks[i] != UNRANKED:
            row["meta"] = row["meta"] | {"retriever_rank": int(ranking.ranks[i])}
        return row

    def hits(i: int) -> list[str]:
        return [chunk_ids[position] for position in ranking.hits[i] if position != NO_CHUNK]

    def kind(i: int) -> str:
        return str(table.types[i])

    return DatasetRows(selection.training, selection.heldout, read, table.digests, table.answerable, kind, hits)


def _is_injected(chunk: Chunk, config: ValidationConfig) -> bool:
    """Return whether a chunk gives orders to a model, so that no training row may show it, not even as a distractor."""
    return INJECTION in config.rules and bool(model_instructions(chunk.text))


def _rejected_rows(
    table: RowTable, selection: Selection, config: ValidationConfig, labels: Sequence[str]
) -> Iterator[RejectedRow]:
    """Yield every row that is not kept, with the reason, the text at fault, the shard, and whether it is repairable."""
    over_cap = set(selection.over_cap)
    for i in range(len(table)):
        position = int(table.dropped_by[i])
        if position == NOT_DROPPED and i not in over_cap:
            continue
        reason = OVER_CAP if position == NOT_DROPPED else config.rules[position]
        yield {
            "reason": reason,
            "span": table.spans.get(i, ""),
            "shard": labels[int(table.part[i])],
            "repairable": reason != OVER_CAP and RULES[reason].repairable,
            **table.row(i).as_qa_row(),
        }


def _finish(
    folder: DatasetFolder, report: ValidationReport, files: Sequence[Path], hub: str | None, complete: bool
) -> DatasetArtifact:
    """Write the report, the funnel, the card and finally the manifest, which marks the dataset folder as complete."""
    data_sha256 = sha256_text(*(sha256_file(folder.root / name) for name in sorted(report.files)))
    lineage = report.lineage.model_copy(update={"data_sha256": data_sha256})
    report = report.model_copy(update={"lineage": lineage})
    write_json(folder.report, report.model_dump(mode="json"))
    for path, text in ((folder.card, render_card(report)), (folder.funnel, render_funnel(report))):
        with atomic_write(path) as f:
            f.write(text)
    dataset = describe(
        folder.root,
        DatasetArtifact,
        rows=report.rows,
        kept=report.kept,
        files=report.files,
        data_sha256=data_sha256,
        complete=complete,
    )
    manifest = DatasetManifest(**dict(dataset), parents=[describe(path, Artifact) for path in files])
    write_json(manifest_path(folder.root), manifest.model_dump(mode="json"))
    return dataset.model_copy(update={"hub": push_to_hub(folder, hub)}) if hub else dataset
