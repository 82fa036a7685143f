"""Read how many generated rows were kept, and why the others were dropped, from the dataset folder's report.json."""

from __future__ import annotations

from collections.abc import Mapping

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.records.dataset import RejectSample, RowCounts, RuleInfo, ValidationReport
from insurance_rag.core.records.split import SplitSummary
from insurance_rag.core.records.style import StyleFigures, StyleSummary
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.formatting import percent, plain, plain_facts
from insurance_rag.report.reader import Reader
from insurance_rag.report.texts import text_label
from insurance_rag.report.view import (
    BreakdownRow,
    DriftRow,
    DropReason,
    Funnel,
    GroupShare,
    HeldOutUnits,
    Label,
    StyleRow,
)

EXAMPLES = 3
"""Maximum number of dropped rows shown per rule."""


def read_funnel(reader: Reader, run: RunFolder) -> Funnel | None:
    """Return the contents of the validation report, or None if the dataset folder has none."""
    report = reader.record(DatasetFolder(run.dataset).report, ValidationReport)
    return None if report is None else _funnel(report)


def _funnel(report: ValidationReport) -> Funnel:
    return Funnel(
        rows=report.rows,
        kept=report.kept,
        drops=[
            DropReason(
                name=name,
                label=_rule_label(report.rules, name),
                count=count,
                examples=[_example(sample) for sample in report.samples.get(name, [])[:EXAMPLES]],
            )
            for name, count in report.drops.items()
            if count
        ],
        shards=_breakdown(report.by_shard),
        types=_breakdown(report.by_type),
        balance={
            by: [
                GroupShare(label=label, rows=group.rows, share=group.share, below_mean=group.top_up)
                for label, group in groups.items()
            ]
            for by, groups in report.balance.items()
        },
        style=[_style_row(label, figures) for label, figures in {**report.style.by_type, "all": report.style}.items()]
        if report.style.rows
        else [],
        style_facts=_style_facts(report.style),
        drift=_drift(report),
        held_out=_held_out(report.split),
        facts=_facts(report),
    )


def _held_out(split: SplitSummary) -> HeldOutUnits | None:
    if split.unit is None:
        return None
    return HeldOutUnits(
        unit=split.unit,
        names=split.names,
        chunks=split.held_out_chunks,
        training_chunks=split.training_chunks,
        repeats=len(split.leaking_chunks) + len(split.repeated_chunks),
    )


def _rule_label(rules: Mapping[str, RuleInfo], name: str) -> Label:
    rule = rules.get(name)
    if rule is None:
        return text_label(f"reason_{name}", name)
    return Label(title=rule.title, title_ko=rule.title_ko, description=rule.description)


def _example(sample: RejectSample) -> dict[str, str]:
    return {name: value for name, value in sample.model_dump().items() if value}


def _breakdown(groups: Mapping[str, RowCounts]) -> list[BreakdownRow]:
    return [BreakdownRow(label=label, **counts.model_dump()) for label, counts in groups.items()]


def _style_row(label: str, figures: StyleFigures) -> StyleRow:
    def share(n: int) -> float | None:
        return n / figures.rows if figures.rows else None

    return StyleRow(
        label=label,
        rows=figures.rows,
        copied_share=figures.copied_share,
        yes_share=share(figures.yes_answers),
        no_share=share(figures.no_answers),
        refusal_share=share(figures.refusals),
        evidence_characters=figures.evidence_characters,
    )


def _style_facts(style: StyleSummary) -> dict[str, str]:
    """Return the figures of the wording that do not depend on the question type."""
    if not style.rows:
        return {}
    facts = {
        "calculations_with_steps": f"{plain(style.calculations_with_steps)} / {plain(style.calculations)}",
        "formatted": plain(style.formatted),
        "openings": f"{plain(style.openings)} ({percent(style.top_opening_share)})",
    }
    mixes = {"registers": style.registers, "personas": style.personas, "difficulties": style.difficulties}
    return facts | {name: _mix(counts) for name, counts in mixes.items() if counts}


def _mix(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return " · ".join(f"{name} {percent(n / total, 0)}" for name, n in counts.items())


def _drift(report: ValidationReport) -> list[DriftRow]:
    """Return the proportions that changed since the previous dataset."""
    if report.drift is None:
        return []
    rows = []
    for name, share in report.drift.shares.items():
        kind, _, group = name.partition(".")
        labels = {"drops": _rule_label(report.rules, group), "types": text_label(f"type_{group}", group)}
        rows.append(
            DriftRow(
                label=labels.get(kind) or text_label(kind, kind),
                previous=share.before,
                current=share.now,
                notable=name in report.drift.notable,
            )
        )
    return [row for row in rows if row.previous != row.current or row.notable]


def _facts(report: ValidationReport) -> dict[str, str]:
    """Return the numbers shown below the breakdowns: split sizes, repairs, contexts and BM25 recall."""
    facts = plain_facts({"training": report.training, "held_out": report.held_out, "repairable": report.repairable})
    facts["repaired"] = f"{plain(report.repairs.kept)} / {plain(report.repairs.rows)}"
    facts["unanswerable"] = f"{plain(report.contexts.unanswerable)} ({percent(report.contexts.unanswerable_share)})"
    facts["with_distractors"] = (
        f"{plain(report.contexts.with_distractors)} ({percent(report.contexts.distractor_share)})"
    )
    if report.retriever.questions:
        facts["recall_at_5"] = percent(report.retriever.recall_at_5)
    return facts
