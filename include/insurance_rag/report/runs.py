"""Several runs on one page: what became of each, and the rates of those chosen on one axis."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.charts import rate_axis, total
from insurance_rag.report.collect import collect_live, read_funnel
from insurance_rag.report.evaluation_section import read_evaluation, read_verdict
from insurance_rag.report.reader import Reader
from insurance_rag.report.render import render_page
from insurance_rag.report.view import Evaluation, Funnel, Verdict, View


class RunLine(View):
    """One run in the list."""

    key: str
    url: str
    state: str
    when: datetime | None
    verdict: Verdict | None
    evaluation: Evaluation | None
    funnel: Funnel | None
    cost: float | None


def read_run(run: RunFolder, *, key: str, url: str, state: str, when: datetime | None) -> RunLine:
    """The run's results in short; what is missing or unreadable is None."""
    reader = Reader(run.root)
    books = collect_live(run).books
    return RunLine(
        key=key,
        url=url,
        state=state,
        when=when,
        verdict=read_verdict(reader, run),
        evaluation=read_evaluation(reader, run),
        funnel=read_funnel(reader, run),
        cost=total(books).cost_usd if books else None,
    )


def render_runs(runs: Sequence[RunLine], chosen: Collection[str] = ()) -> str:
    """The list; of the runs that are chosen also the rates, metric by metric on one axis."""
    compared = [(run, run.evaluation) for run in runs if run.key in chosen and run.evaluation]
    metrics = dict.fromkeys(metric for _, evaluation in compared for metric in evaluation.metrics)
    axis = rate_axis(rate for _, e in compared for model in e.models for rate in model.rates.values())
    return render_page("runs.html.j2", runs=runs, chosen=chosen, compared=compared, metrics=list(metrics), axis=axis)
