"""Builds the Markdown text of the approval page: row counts, changes, cost, dropped rows per rule and sample rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import read_json
from insurance_rag.core.records import GenerationEstimate, QARow, ValidationReport
from insurance_rag.core.records.planning import Refresh
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.dataset.balance import drop_title

SAMPLES = 5


def review_text(dataset: Mapping[str, JsonValue]) -> str:
    """Return the text for `dataset`, a DatasetArtifact as plain JSON.

    The rows are read from the dataset folder, the cost and the changes from the run folder that contains it.
    """
    folder = DatasetFolder(Path(str(dataset["uri"])))
    run = RunFolder(folder.root.parent)
    report = folder.read_report()
    rows: list[QARow] = read_json(folder.training("merged"))
    lines = [
        f"**{report.kept:,}** of {report.rows:,} rows kept, in `{folder.root}`.",
        "",
        *(f"- {line}" for line in [*_changes(run, report), *_costs(run)]),
        "",
        "| dropped | rows |",
        "|---|---:|",
    ]
    lines += [f"| {_escape(drop_title(report, name))} | {n:,} |" for name, n in report.drops.items() if n]
    lines += ["", f"Samples ({SAMPLES} of {len(rows):,} training rows):", ""]
    step = max(1, len(rows) // SAMPLES)
    lines += [
        f"- **{_escape(row['instruction'])}** ({row['type']})  \n  {_escape(row['output'])}"
        for row in rows[::step][:SAMPLES]
    ]
    return "\n".join(lines)


def _changes(run: RunFolder, report: ValidationReport) -> Iterator[str]:
    """Yield what changed since the published dataset and since the newest earlier run."""
    from insurance_rag.planning import read_plan

    if report.drift:
        rows = report.drift.rows
        yield f"Generated rows: {rows.now:,}, {rows.now - rows.before:+,} since the published dataset."
    refresh = read_plan(run).refresh if run.plan.is_file() else None
    if refresh:
        yield (
            f"Chunks since the newest earlier run: {refresh.added:,} added, {refresh.changed:,} changed, "
            f"{refresh.removed:,} removed; the answers for {refresh.calls_saved:,} chunks were reused{_kept(refresh)}."
        )


def _kept(refresh: Refresh) -> str:
    models = ", ".join(f"{n:,} of {_escape(model)}" for model, n in refresh.kept_from.items())
    return f" (kept from earlier models: {models})" if models else ""


def _costs(run: RunFolder) -> Iterator[str]:
    """Yield the estimated and the actual cost of generating the rows."""
    from insurance_rag.generation.estimate import show_usd

    if run.estimate.is_file():
        estimate = GenerationEstimate.model_validate(read_json(run.estimate))
        cost = "unknown" if estimate.cost_usd is None else show_usd(estimate.cost_usd)
        yield f"Estimated cost: {cost}, for {estimate.chunks:,} chunks in {estimate.calls:,} calls."
    if run.usage.is_file():
        usage = RunUsage.model_validate(read_json(run.usage))
        total, per_pair = usage.total, usage.cost_per_accepted_pair_usd
        each = f", {show_usd(1000 * per_pair)} per 1,000 accepted pairs" if per_pair else ""
        yield (
            f"Actual cost: {show_usd(total.cost_usd)}, for {total.pairs_accepted:,} accepted pairs in "
            f"{total.calls:,} calls{each}."
        )
        others = ", ".join(f"{_escape(name)}: {n:,}" for name, n in usage.models.items() if name != usage.model)
        if total.other_model_answers:
            yield f"Answers by another model than {_escape(usage.model)}: {total.other_model_answers:,} ({others})."


def _escape(text: str) -> str:
    """Escape Markdown and HTML characters, because `text` was written by a model."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!" else c for c in text.replace("\n", " "))
