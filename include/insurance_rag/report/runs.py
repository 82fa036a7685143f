"""Show several runs on one page: the outcome of every run, and the rates for selected runs on a shared axis."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from insurance_rag.core.records import Decision
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.charts import rate_axis
from insurance_rag.report.collect import collect_live, read_decision
from insurance_rag.report.evaluation_section import read_evaluation
from insurance_rag.report.funnel_section import read_funnel
from insurance_rag.report.reader import Reader
from insurance_rag.report.render import render_page
from insurance_rag.report.usage_section import total_usage
from insurance_rag.report.view import Evaluation, Funnel, MetricLabel, View


class RunLine(View):
    """One run in the list of runs."""

    key: str
    url: str
    state: str
    when: datetime | None
    decision: Decision | None
    evaluation: Evaluation | None
    funnel: Funnel | None
    cost_usd: float | None


def read_run(run: RunFolder, *, key: str, url: str, state: str, when: datetime | None) -> RunLine:
    """Return a summary of a run's results. Results that are missing or unreadable are None."""
    reader = Reader(run.root)
    usage = collect_live(run).usage
    return RunLine(
        key=key,
        url=url,
        state=state,
        when=when,
        decision=read_decision(reader, run),
        evaluation=read_evaluation(reader, run),
        funnel=read_funnel(reader, run),
        cost_usd=total_usage(usage).usage.cost_usd if usage else None,
    )


def render_runs(runs: Sequence[RunLine], selected: Collection[str] = ()) -> str:
    """Return the page that lists `runs`. The runs with a key in `selected` are compared on one axis."""
    compared = [(run, run.evaluation) for run in runs if run.key in selected and run.evaluation]
    metrics: dict[str, MetricLabel] = {}
    for _, evaluation in compared:
        for metric in evaluation.metrics:
            metrics.setdefault(metric, evaluation.label(metric))
    listed = next((run.evaluation for run in runs if run.evaluation), None)
    columns = {metric: listed.label(metric) for metric in listed.breakdown} if listed else {}
    axis = rate_axis(rate for _, e in compared for model in e.models for rate in model.rates.values())
    values = {"runs": runs, "selected": selected, "compared": compared, "metrics": metrics, "axis": axis}
    values["columns"] = columns
    return render_page("runs.html.j2", values)
