"""A day in Airflow's own pages in headless Chromium: fill in the form, fix a failed shard, approve, read the report."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.airflow.conftest import SLOW, Airflow, write_sample_files

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.config import GenerationConfig

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(600)]

DAG = "refresh_dataset"
DEAD_KEY = "dead-browser-key"


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(
        quota={"rpm": 600}, speed=20, latency_s=0.2, defects=0.1, key_states={DEAD_KEY: "invalid"}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def inputs(
    airflow: Airflow, simulator: RunningSimulator, finetune_run: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """15 chunks that no earlier run answered, their questions, and three keys of which one is dead.

    `finetune_pipeline` is paused after its one run, so that the published dataset does not start another.
    """
    for name, key in {"ui_k1": "browser-key-1", "ui_k2": DEAD_KEY, "ui_k3": "browser-key-3"}.items():
        airflow.put_key(name, simulator.url, key)
    airflow.pause("finetune_pipeline")
    return write_sample_files(tmp_path_factory.mktemp("input"), every=5, ending="\n⑨ 이 약관은 2026년판입니다.")


def trigger_by_form(page: Page, url: str, inputs: dict[str, str]) -> str:
    """Fill in the form like a person and return the address of the page of the run."""
    page.goto(f"{url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    form.locator("#element_chunks").fill(inputs["chunks"])
    form.locator("#element_keys").fill("ui_k1\nui_k2\nui_k3")
    form.locator("#element_questions").fill(inputs["questions"])
    expect(form.locator("[id='element_generation.model']")).to_have_value(GenerationConfig().model)
    help_text = form.get_by_text("Let workers that have no chunks left answer chunks of slower and dead keys.")
    expect(help_text).to_be_hidden()  # in a folded section
    form.get_by_role("button", name="Generation", exact=True).click()
    expect(help_text).to_be_visible()
    assert form.locator(".monaco-editor:visible").count() == 0, "no setting is a JSON editor"
    assert form.locator("[id^=element_][required]").count() == 0, "every setting has a default"
    for name in ("redistribute", "repair"):
        form.locator(f"label:has([name='element_generation.{name}'])").click()
    form.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url(f"**/dags/{DAG}/runs/**")
    return page.url


def test_a_failed_shard_is_fixed_and_the_dataset_approved(
    airflow: Airflow, simulator: RunningSimulator, page: Page, inputs: dict[str, str]
) -> None:
    run_page = trigger_by_form(page, airflow.services.url, inputs)
    run_id = unquote(run_page.rsplit("/", 1)[1])

    page.goto(f"{run_page}/tasks/generate/mapped")
    for shard, state in ((1, "Success"), (2, "Failed"), (3, "Success")):
        row = page.get_by_role("row").filter(has_text=f"shard {shard}/3 · ui_k{shard}")
        expect(row).to_contain_text(state, timeout=SLOW)
    assert airflow.wait(DAG, run_id) == "failed"
    log = airflow.api.log(DAG, run_id, "generate", 1)
    assert "replace the key in its connection, then clear this task" in log and DEAD_KEY not in log
    assert f"airflow dags clear --run-id {run_id} --only-failed -y {DAG}" in log
    assert DEAD_KEY not in str(airflow.api.task_instances(DAG, run_id))  # the rendered templates
    calls = simulator.stats()["calls"]

    airflow.put_key("ui_k2", simulator.url, "browser-key-2")
    page.goto(run_page)
    page.get_by_role("button", name="Press shift+c to clear").click()
    dialog = page.get_by_role("dialog").filter(has_text="Clear Dag Run")
    dialog.get_by_text("Clear only failed tasks").click()
    expect(dialog).to_contain_text("Affected Tasks: 7")  # shard 2, validate and what waited for it
    dialog.get_by_role("button", name="Confirm").click()
    expect(dialog).to_be_hidden(timeout=SLOW)

    page.goto(f"{run_page}/tasks/approve")
    page.get_by_role("link", name="Required Action").click(timeout=2 * SLOW)
    expect(page.get_by_text("Publish the refreshed dataset?")).to_be_visible()
    expect(page.get_by_text("rows kept")).to_be_visible()
    page.wait_for_timeout(5000)  # a person reads; see Airflow.decide
    page.get_by_role("button", name="Approve").click()
    assert airflow.wait(DAG, run_id) == "success", airflow.explain(DAG, run_id)
    assert airflow.states(DAG, run_id)["publish"] == "success"
    assert simulator.stats()["calls"] > calls and simulator.stats()["repeated_answers"] == 0

    page.goto(run_page)
    page.get_by_role("link", name="Run report").click()
    report = page.frame_locator("iframe")
    expect(report.locator("#funnel")).to_contain_text("Duplicate question")


def test_the_report_tab_shows_base_and_adapters(airflow: Airflow, page: Page, finetune_run: str) -> None:
    page.goto(f"{airflow.services.url}/dags/finetune_pipeline/runs/{quote(finetune_run)}")
    page.get_by_role("link", name="Run report").click()
    comparison = page.frame_locator("iframe").locator("#comparison")
    for model in ("Base", "v1", "v2"):
        expect(comparison).to_contain_text(model)
    expect(page.frame_locator("iframe").locator("#verdict h1")).not_to_have_text("No verdict yet")


def test_anonymous_sees_none_of_our_pages(airflow: Airflow, finetune_run: str) -> None:
    run = f"/run-report/dags/finetune_pipeline/runs/{quote(finetune_run)}"
    for route in (run, f"{run}/updates", "/run-report/"):
        assert httpx.get(airflow.services.url + route, timeout=60).status_code == 401, route
