"""Validate and merge: part files in, training files, rejects, report and card out.

The result depends on the rows, the clauses and the configuration alone: not on the order or number of the parts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.core.artifacts import write_manifest
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write, write_json, write_jsonl
from insurance_rag.core.hashing import sha256_file, sha256_text
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import Chunk, Question
from insurance_rag.dataset import Built, Rows, build_datasets
from insurance_rag.dataset.card import render_card
from insurance_rag.dataset.contexts import product
from insurance_rag.dataset.funnel import render_funnel
from insurance_rag.dataset.hub import push_to_hub
from insurance_rag.korean.text import clean
from insurance_rag.validation.check import KEPT, Job, Table, check_blocks, check_rules
from insurance_rag.validation.contamination import Split, make_split
from insurance_rag.validation.cross_row_rules import apply_set_rules
from insurance_rag.validation.report import drift, make_report, read_report
from insurance_rag.validation.retrievability import UNRANKED, rank_report, rank_rows
from insurance_rag.validation.rows import find_parts, part_labels, read_blocks
from insurance_rag.validation.rules import REPAIRABLE
from insurance_rag.validation.select import Selection, select


def validate_parts(
    parts: Sequence[Path],
    chunks: Sequence[Chunk] | None,
    out: Path,
    config: ValidationConfig | None = None,
    *,
    questions: Sequence[Question] | None = None,
    previous: Path | None = None,
    progress: Path | None = None,
) -> dict[str, Any]:
    """Write the dataset folder `out` and return `{uri, sha256, rows, kept, files}`.

    `parts` are part files or folders of them. Without `chunks` each row is judged by its own input. `questions` hold
    their documents out of training. `previous` is the report.json that drift is measured against. Raises InvalidInputError
    for all of that before anything is written.
    """
    config = config or ValidationConfig()
    check_rules(config)
    files = find_parts(parts)
    before = read_report(previous) if previous else None
    if questions and not chunks:
        raise InvalidInputError(
            "questions hold out the documents of their clauses: give --chunks, the clauses, with them"
        )
    # As the rows are cleaned: a soft hyphen or decomposed Hangul in a clause is no difference.
    known = {chunk.chunk_id: chunk.model_copy(update={"text": clean(chunk.text)}) for chunk in chunks or []}
    if questions and "leak" not in config.rules:
        config = config.model_copy(update={"rules": (*config.rules, "leak")})
    split = make_split(list(known.values()), questions, config) if questions else Split()
    texts = None if chunks is None else {i: chunk.text for i, chunk in known.items()}
    with contextlib.closing(Table(out, texts)) as table:
        judge_rows(table, files, Job(config, texts, split.leaking, split.questions), known, progress)
        ranks = _rank(table, known, config, progress)
        chosen = select(table, known, split, config.dataset)
        built = _build(table, chosen, [c for c in known.values() if split.may_train(c)], ranks, out, config, progress)
        labels = part_labels(files)
        report = make_report(table, chosen, built, split, config, labels, list(known.values()))
        report["retriever"] = rank_report(ranks)
        if before:
            report["drift"] = drift(report, before)
        write_jsonl(out / "rejects.jsonl", _rejects(table, chosen, config, labels))
    return _finish(out, report, files, config)


def judge_rows(
    table: Table, files: list[Path], job: Job, chunks: dict[str, Chunk], progress: Path | None = None
) -> None:
    """Fill `table` with every row of `files`, judged by every rule."""
    products = {i: product(chunk) for i, chunk in chunks.items()}
    with Progress("validate", "rows", total=0, unit="rows", folder=progress) as bar:
        for checked in check_blocks(read_blocks(files), job):
            table.add(checked)
            bar.total += checked.size  # unknown before the files are read
            bar.advance(checked.size)
        if not len(table):
            raise InvalidInputError([f"{path}: holds no rows; generate again" for path in files])
        table.freeze()
        apply_set_rules(table, job.config, lambda chunk_id: products.get(chunk_id, ""))
        table.bands = table.sketches = None  # 200 bytes a row that no later step asks for


def _rank(table: Table, chunks: dict[str, Chunk], config: ValidationConfig, progress: Path | None) -> Any:
    """Ranks of the rows that passed so far; those behind `max_rank` are dropped as `not_retrieved`."""
    if not config.retriever_check or "not_retrieved" not in config.rules:
        return rank_rows(table, [], list(chunks.values()), config)
    passed = np.flatnonzero(table.dropped_by == KEPT).tolist()
    with Progress("validate", "retriever", total=len(passed), unit="questions", folder=progress) as bar:
        ranks = rank_rows(table, passed, list(chunks.values()), config, bar.advance)
    for i in np.flatnonzero(ranks > config.max_rank).tolist() if config.max_rank else []:
        table.dropped_by[i] = config.rules.index("not_retrieved")
        table.spans[i] = f"rank {ranks[i]}"
    return ranks


def _build(
    table: Table,
    chosen: Selection,
    trainable: Sequence[Chunk],
    ranks: Any,
    out: Path,
    config: ValidationConfig,
    progress: Path | None,
) -> Built:
    def row(i: int) -> dict[str, Any]:
        fields = table.row(i).fields
        return fields | {"meta": fields["meta"] | {"retriever_rank": int(ranks[i])}} if ranks[i] != UNRANKED else fields

    rows = Rows(chosen.training, chosen.heldout, row, table.digests, table.answerable)
    total = len(chosen.training) + len(chosen.heldout)
    with Progress("validate", "files", total=total, unit="rows", folder=progress) as bar:
        return build_datasets(rows, trainable, out, config.dataset, bar.advance)


def _rejects(
    table: Table, chosen: Selection, config: ValidationConfig, labels: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Every row that is not kept: its reason, the span at fault, its origin, and whether asking again may help."""
    surplus = set(chosen.surplus)
    for i in range(len(table)):
        position = int(table.dropped_by[i])
        if position == KEPT and i not in surplus:
            continue
        reason = "balance" if position == KEPT else config.rules[position]
        lineage = {"shard": labels[int(table.part[i])], "repairable": reason in REPAIRABLE}
        yield {"reason": reason, "span": table.spans.get(i, ""), **lineage, **table.row(i).fields}


def _finish(out: Path, report: dict[str, Any], files: Sequence[Path], config: ValidationConfig) -> dict[str, Any]:
    """The report, its picture, the card and, last, the manifest: the data is complete when that is there."""
    data = {name: sha256_file(out / name) for name in sorted(report["files"])}
    report["lineage"]["data_sha256"] = sha256_text(*data.values())
    write_json(out / "report.json", report)
    for name, text in (("README.md", render_card(report)), ("funnel.svg", render_funnel(report))):
        with atomic_write(out / name) as f:
            f.write(text)
    parents = [{"uri": str(path.resolve()), "sha256": sha256_file(path)} for path in files]
    facts: dict[str, Any] = {"rows": report["rows"], "kept": report["kept"], "files": report["files"]}
    # The folder's hash changes with its report (names of shards, drift); this one with the rows alone.
    facts["data_sha256"] = report["lineage"]["data_sha256"]
    manifest = write_manifest(out, parents=parents, **facts)
    if config.dataset.push_to_hub:
        facts["hub"] = push_to_hub(out, config.dataset.push_to_hub)
    return {"uri": manifest["uri"], "sha256": manifest["sha256"], **facts}
