"""Several runs on one page: what became of each, and the rates of those chosen on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from insurance_rag.artifacts import RunFolder
from insurance_rag.report.charts import rate_axis, total
from insurance_rag.report.collect import collect_live, read_funnel
from insurance_rag.report.compared import read_evaluation, read_verdict
from insurance_rag.report.read import Reader
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


def render_runs(runs: Sequence[RunLine], chosen: Sequence[str] = ()) -> str:
    """The list; where runs are chosen, their rates too, metric by metric on one axis."""
    compared = [run for run in runs if run.key in set(chosen) and run.evaluation]
    metrics = dict.fromkeys(metric for run in compared for metric in run.evaluation.metrics)  # type: ignore[union-attr]
    rates = [rate for run in compared for model in run.evaluation.models for rate in model.rates.values()]  # type: ignore[union-attr]
    return render_page(
        "runs.html.j2", runs=runs, chosen=set(chosen), compared=compared, metrics=list(metrics), axis=rate_axis(rates)
    )
