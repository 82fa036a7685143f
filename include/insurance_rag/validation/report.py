"""Builds the validation report: row counts by rule, shard and type, with samples, proportions and lineage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from insurance_rag.config import ValidationConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import (
    Chunk,
    ContextCounts,
    DatasetLineage,
    RejectSample,
    RepairCounts,
    RepairSummary,
    ReviewCounts,
    RowCounts,
    ValidationReport,
)
from insurance_rag.core.records.style import StyleSummary
from insurance_rag.dataset.balance import OVER_CAP, balance_report
from insurance_rag.dataset.build import BuildStats
from insurance_rag.dataset.contexts import product
from insurance_rag.dataset.style import measure_style
from insurance_rag.validation.contamination import Split
from insurance_rag.validation.retrievability import rank_summary
from insurance_rag.validation.rules.registry import RULES
from insurance_rag.validation.selection import UNKNOWN, Selection
from insurance_rag.validation.table import NOT_DROPPED, RowTable

SAMPLES = 5
"""Number of dropped rows that the report shows per rule."""
SAMPLE_CHARACTERS = 300


@dataclass(frozen=True)
class ReportInputs:
    """Everything that the report is built from."""

    table: RowTable
    selection: Selection
    stats: BuildStats
    split: Split
    ranks: NDArray[np.int32]
    config: ValidationConfig
    labels: Sequence[str]
    """Labels of the parts, by part index."""
    chunks: Sequence[Chunk]
    review_records: int = 0
    """Number of records in the journal of review decisions."""


def make_report(inputs: ReportInputs) -> ValidationReport:
    """Return the report without the drift and without the hash of the data files. Both are added later."""
    table, selection, config = inputs.table, inputs.selection, inputs.config
    by_shard, by_type, total = _funnel(table, config.rules, inputs.labels, selection.over_cap)
    rules = {name: RULES[name].info() for name in config.rules}
    return ValidationReport(
        rows=total.rows,
        kept=total.kept,
        drops=total.drops,
        by_shard=by_shard,
        by_type=by_type,
        rules=rules,
        training=len(selection.training),
        held_out=len(selection.heldout),
        repairable=sum(total.drops[name] for name, info in rules.items() if info.repairable),
        cleaned=dict(sorted(table.cleaned.items())),
        repairs=_repairs(table),
        reviews=ReviewCounts(**table.reviewed, records=inputs.review_records),
        files=inputs.stats.rows,
        contexts=_context_counts(inputs.stats),
        preferences=inputs.stats.preferences,
        verifier=inputs.stats.verifier,
        balance=balance_report(selection.groups),
        style=_style(table, selection, inputs.chunks),
        split=inputs.split.summary,
        samples=_samples(table, config.rules),
        lineage=_lineage(table, selection, inputs.chunks),
        settings=config.model_dump(mode="json"),
        retriever=rank_summary(inputs.ranks),
    )


def _funnel(
    table: RowTable, rules: Sequence[str], labels: Sequence[str], over_cap: Sequence[int]
) -> tuple[dict[str, RowCounts], dict[str, RowCounts], RowCounts]:
    """Return the row counts by shard, by type and in total."""
    reason = table.dropped_by.copy()
    reason[list(over_cap)] = len(rules)
    names = [*rules, OVER_CAP]
    by_shard = {labels[part]: _counts(reason[table.part == part], names) for part in np.unique(table.part).tolist()}
    by_type = {
        kind or UNKNOWN: _counts(reason[table.types == kind], names) for kind in sorted(set(table.types.tolist()))
    }
    return by_shard, by_type, _counts(reason, names)


def _counts(reason: NDArray[np.int16], names: Sequence[str]) -> RowCounts:
    drops = {name: int((reason == position).sum()) for position, name in enumerate(names)}
    return RowCounts(rows=len(reason), kept=int((reason == NOT_DROPPED).sum()), drops=drops)


def _repairs(table: RowTable) -> RepairSummary:
    rows = Counter(table.repair_reasons.values())
    kept = Counter(reason for i, reason in table.repair_reasons.items() if table.dropped_by[i] == NOT_DROPPED)
    by_reason = {reason: RepairCounts(rows=n, kept=kept[reason]) for reason, n in sorted(rows.items())}
    return RepairSummary(rows=rows.total(), kept=kept.total(), by_reason=by_reason)


def _context_counts(stats: BuildStats) -> ContextCounts:
    rows = max(1, stats.retrieved_context_rows)
    return ContextCounts(
        unanswerable=stats.unanswerable,
        unanswerable_share=round(stats.unanswerable / rows, 4),
        with_distractors=stats.with_distractors,
        distractor_share=round(stats.with_distractors / rows, 4),
        evidence_cut=stats.evidence_cut,
        overlap_auc=stats.overlap_auc,
    )


def _samples(table: RowTable, rules: Sequence[str]) -> dict[str, list[RejectSample]]:
    """Return the first rows that each rule dropped, with the text at fault."""
    found: dict[str, list[RejectSample]] = {}
    for position, name in enumerate(rules):
        for i in np.flatnonzero(table.dropped_by == position)[:SAMPLES].tolist():
            row = table.row(i)
            sample = RejectSample(
                chunk_id=row.chunk_id,
                type=row.type,
                instruction=row.instruction[:SAMPLE_CHARACTERS],
                output=row.output[:SAMPLE_CHARACTERS],
                span=table.spans.get(i, "")[:SAMPLE_CHARACTERS],
            )
            found.setdefault(name, []).append(sample)
    return found


def _style(table: RowTable, selection: Selection, chunks: Sequence[Chunk]) -> StyleSummary:
    """Return the style of the kept rows."""
    products = {chunk.chunk_id: f"{chunk.metadata.company} {product(chunk)}" for chunk in chunks}
    return measure_style((table.row(i).as_qa_row() for i in [*selection.training, *selection.heldout]), products)


def _lineage(table: RowTable, selection: Selection, chunks: Sequence[Chunk]) -> DatasetLineage:
    """Return the hash of the chunks, and the models and prompt versions named in the `meta` of the kept rows."""
    models: Counter[str] = Counter()
    prompt_versions: Counter[str] = Counter()
    for i in [*selection.training, *selection.heldout]:
        meta = table.row(i).meta
        for names, key in ((models, "model"), (prompt_versions, "prompt_version")):
            if value := meta.get(key):
                names[str(value)] += 1
    chunks_sha256 = sha256_text(*sorted(chunk.model_dump_json() for chunk in chunks)) if chunks else None
    return DatasetLineage(
        chunks_sha256=chunks_sha256,
        model=sorted(models),
        rows_by_model=dict(sorted(models.items())),
        prompt_version=sorted(prompt_versions),
    )
