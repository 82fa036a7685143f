"""Tests of the tab inside Airflow's own page, in headless Chromium: it updates itself and reruns failed tasks."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from tests.browser import Browser
from tests.plugins.conftest import DAG, RUN, Site
from tests.report.sample_run import stage_progress

from insurance_rag.core.files import write_json

pytestmark = pytest.mark.browser

FRAME = "document.querySelector('iframe').contentDocument"


@pytest.fixture
def tab(site: Site) -> Iterator[Browser]:
    """Log in as admin and open the "Run report" tab of the run; one shard is running."""
    note_progress(site, 3)
    with site.client("admin") as client, Browser() as browser:
        token = client.headers["Authorization"].removeprefix("Bearer ")
        browser.call("Network.setCookie", name="_token", value=token, url=site.url)
        browser.open(f"{site.url}/dags/{DAG}/runs/{quote(RUN)}/plugin/run_report")
        browser.wait(f"{FRAME}.querySelector('#verdict h1')", timeout_s=60)
        yield browser


def note_progress(site: Site, done: int) -> None:
    figures = {"requests_429": 2, "cost_usd": 0.0123}
    label = "shard 8/8 · gemini_k1"
    progress = stage_progress("generate", label, done=done, total=19, unit="chunks", **figures)
    running = progress.model_copy(update={"state": "running", "eta_s": 12})
    write_json(site.run.progress / "generate-8.json", running.model_dump())


def test_tab_updates_itself_and_reruns_failed_tasks(site: Site, tab: Browser) -> None:
    shown = f"{FRAME}.querySelector('#progress').innerText"
    assert "3 / 19" in tab.run(shown) and "429" in tab.run(shown)
    note_progress(site, 11)
    tab.wait(f"{shown}.includes('11 / 19')")

    tab.run(f"{FRAME}.querySelector('#rerun-ask').click()")
    tab.wait(f"{FRAME}.querySelector('#rerun-tasks').children.length")
    assert "generate" in tab.run(f"{FRAME}.querySelector('#rerun-tasks').innerText")
    tab.run(f"{FRAME}.querySelector('#rerun-yes').click()")
    tab.wait(f"{FRAME}.querySelector('#rerun-yes').hidden")
    with site.client("admin") as client:
        instances = client.get(f"/api/v2/dags/{DAG}/dagRuns/{quote(RUN)}/taskInstances").json()["task_instances"]
    assert {i["task_id"]: i["state"] for i in instances} == {"plan": "success", "generate": None, "validate": None}
    assert tab.run(f"{FRAME}.querySelectorAll('.question').length") > 0
    assert not [url for url in tab.requests if not url.startswith((site.url, "data:", "blob:"))]


def test_the_tab_fits_its_frame(tab: Browser) -> None:
    """The frame is narrower than the window, because Airflow shows the runs next to it."""
    page = f"{FRAME}.documentElement"
    rows = f"[...{FRAME}.querySelectorAll('#progress li, #usage tr')]"
    for width in (390, 1024, 1280, 1440, 1920):
        tab.look(width, 900)
        tab.wait(f"{rows}.length")
        assert tab.run(f"{page}.scrollWidth <= {page}.clientWidth"), width
        wide = tab.run(f"{rows}.filter(row => row.scrollWidth > row.clientWidth + 1).map(row => row.innerText)")
        assert wide == [], width


def test_runs_are_compared_under_browse(site: Site, tab: Browser) -> None:
    tab.open(f"{site.url}/plugin/run_reports")
    tab.wait(f"{FRAME}.querySelector('input[type=checkbox]')", timeout_s=60)
    tab.run(f"{FRAME}.querySelector('input[type=checkbox]').click()")
    tab.run(f"{FRAME}.querySelector('button[type=submit]').click()")
    tab.wait(f"{FRAME}.querySelector('#comparison .interval')")
    tab.run(f"{FRAME}.querySelector('a').click()")
    tab.wait(f"{FRAME}.querySelector('#verdict h1')")
    assert [error for error in tab.errors if "run-report" in error] == []
