"""The page shows the spread over seeds, if a recipe has several seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser import Browser
from tests.report.sample_run import write_run

from insurance_rag.core.adapter_folder import seed_folder
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html, render_report
from insurance_rag.report.results_version import results_version

MODELS = ("Base", "v1", "v2-s42", "v2-s43", "v2-s44")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("seeds") / "run", MODELS, questions=120)


def test_each_seed_is_a_dot_and_each_recipe_a_row(run: RunFolder) -> None:
    report = collect(run)
    assert report.evaluation
    spread = report.evaluation.recipes[0]
    assert spread.metric == "correct"
    assert {row.name: [dot.seed for dot in row.dots] for row in spread.rows} == {"v1": [42], "v2": [42, 43, 44]}
    v2 = spread.rows[1]
    assert v2.rate.min == min(dot.rate for dot in v2.dots) < v2.rate.mean < v2.rate.max
    assert [(test.recipe_a, test.recipe_b) for test in spread.tests] == [("Base", "v2"), ("v1", "v2")]
    html = render_html(report)
    section = html[html.index('id="seeds"') :]
    assert section[: section.index("<details")].count('class="seed"') == 4
    assert "시드에 따른 편차" in html and "Spread over seeds" in html


def test_training_shows_every_seed_under_the_name_in_the_comparison(run: RunFolder) -> None:
    training = collect(run).training
    assert training and [entry.name for entry in training] == list(MODELS[1:])


def test_a_new_loss_of_one_seed_changes_the_page(run: RunFolder) -> None:
    before = results_version(run)
    with (seed_folder(run.adapter("v2", "base_model"), 43) / "loss_history.jsonl").open("a") as f:
        f.write('{"step": 999, "loss": 1.0}\n')
    assert results_version(run) != before


def test_without_several_seeds_there_is_no_section(tmp_path: Path) -> None:
    report = collect(write_run(tmp_path / "run", ("Base", "v1", "v2"), questions=20))
    assert report.evaluation and report.evaluation.recipes == []
    assert 'id="seeds"' not in render_html(report)


@pytest.fixture(scope="module")
def browser(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    page = tmp_path_factory.mktemp("page") / "report.html"
    render_report(run, page)
    with Browser() as browser:
        browser.open(page.as_uri())
        yield browser


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_the_dots_are_inside_their_chart_and_the_page_is_not_wider_than_the_window(
    browser: Browser, width: int
) -> None:
    browser.look(width, 900)
    charts = browser.run(
        "[...document.querySelectorAll('.recipes svg.interval')].filter(s => s.checkVisibility()).map(s => {"
        "const box = s.getBoundingClientRect(); return [...s.querySelectorAll('.seed')].every(c => {"
        "const x = c.getBoundingClientRect(); return x.left >= box.left - 5 && x.right <= box.right + 5})})"
    )
    assert charts == [True, True]
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.errors == []


@pytest.mark.browser
def test_a_dot_names_its_adapter(browser: Browser) -> None:
    title = browser.run("document.querySelectorAll('.recipes tr')[2].querySelector('.seed title').textContent")
    assert re.fullmatch(r"v2-s42: \d+\.\d%", title)
