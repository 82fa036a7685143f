"""Tests of the page that compares runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.report.sample_evaluation import write_evaluation
from tests.report.sample_run import write_run

from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.runs import read_run, render_runs


def test_selected_runs_share_one_axis(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "one", models=("Base", "v1"), questions=12)
    other = RunFolder(tmp_path / "two").create()
    write_evaluation(other, ("Base", "v1", "v2"), 12)
    begun = RunFolder(tmp_path / "three").create()
    when = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
    runs = [
        read_run(run, key=f"dag/<{run.root.name}>", url="./x", state="success", when=when)
        for run in (whole, other, begun)
    ]
    assert runs[0].cost_usd and runs[1].cost_usd is None and runs[2].evaluation is None
    listed = render_runs(runs)
    assert "dag/&lt;one&gt;" in listed and "2026-11-23 04:00" in listed and 'class="interval' not in listed
    compared = render_runs(runs, {"dag/<one>", "dag/<two>", "dag/<three>", "unknown"})
    hallucination = compared.split("<caption>")[1]
    assert (
        hallucination.count('class="interval') == 5
        and 'rowspan="2"' in hallucination
        and 'rowspan="3"' in hallucination
    )


def test_without_a_run_the_page_says_how_to_get_one() -> None:
    assert "Trigger finetune_pipeline" in render_runs([])
