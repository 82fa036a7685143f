"""From a customer's own PDF to a verdict by Airflow's pages alone, and what a new edition of the PDF leads to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import Page, expect
from pydantic import JsonValue
from tests.airflow.conftest import SLOW, Airflow
from tests.airflow.policy_pdf import write_policy

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.records import EvaluationSummary

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(quota={"rpm": 600}, speed=40, latency_s=0.1, defects=0) as running:
        yield running


@pytest.fixture(scope="module")
def policy(airflow: Airflow, simulator: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with twelve articles, and a connection with a key for it."""
    airflow.put_key("policy_key", simulator.url, "policy-key")
    folder = tmp_path_factory.mktemp("policies")
    write_policy(folder / "policy.pdf")
    return folder / "policy.pdf"


def trigger(page: Page, url: str, dag: str, settings: dict[str, str], **folded: dict[str, str]) -> str:
    """Fill in the form of a DAG like a person, and return the address of the page of the run.

    `folded` are the settings in folded sections. Opening a section closes the others.
    """
    page.goto(f"{url}/dags/{dag}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    for section, values in {"": settings, **folded}.items():
        if section:
            form.get_by_role("button", name=section, exact=True).click()
        for name, value in values.items():
            form.locator(f"[name='element_{name}']").fill(value)
    form.get_by_test_id("trigger-dag-submit").click()
    page.wait_for_url(f"**/dags/{dag}/runs/**")
    return page.url


def approve(page: Page, run_page: str, subject: str) -> None:
    """Read the approval page, open the review page to which it links, and approve."""
    page.goto(f"{run_page}/tasks/approve")
    page.get_by_role("link", name="Required Action").click(timeout=3 * SLOW)
    expect(page.get_by_text(subject)).to_be_visible()
    with page.expect_popup() as popup:
        page.get_by_role("link", name="one by one").click()
    expect(popup.value.locator("body")).to_contain_text("도란 든든 상해보험")
    popup.value.close()
    page.wait_for_timeout(5000)  # a person reads; see Airflow.decide
    page.get_by_role("button", name="Approve").click()


def run_id_of(run_page: str) -> str:
    return unquote(run_page.rsplit("/", 1)[1])


def test_a_pdf_becomes_a_verdict_by_the_pages_alone(
    airflow: Airflow, page: Page, policy: Path, finetune_run: str
) -> None:
    """The base model of the earlier run saves a minute of training."""
    url = airflow.services.url
    documents = {"documents": str(policy.parent), "keys": "policy_key"}
    run_page = trigger(page, url, "make_questions", {**documents, "question_set.n": "8"})
    approve(page, run_page, "Publish the evaluation questions?")
    assert airflow.wait("make_questions", run_id_of(run_page)) == "success"

    base_model = str(airflow.folder("finetune_pipeline", finetune_run).base_model)
    settings = {**documents, "base_model": base_model, "question_limit": ""}
    run_page = trigger(page, url, "finetune_pipeline", settings, Training={"training.max_steps": "6"})
    run_id = run_id_of(run_page)
    assert airflow.wait("finetune_pipeline", run_id) == "success", airflow.explain("finetune_pipeline", run_id)
    run = airflow.folder("finetune_pipeline", run_id)
    assert len(read_jsonl(run.ingested)) == 10, "one chunk per article"
    summary = EvaluationSummary.model_validate(read_json(run.evaluation / "summary.json"))
    assert set(summary.models) == {"Base", "v1", "v2"}

    page.goto(run_page)
    page.get_by_role("link", name="Run report").click()
    report = page.frame_locator("iframe")
    expect(report.locator("#verdict h1")).not_to_have_text("No verdict yet")
    expect(report.locator("#questions")).to_contain_text("도란 든든 상해보험")
    page.goto(f"{url}/dags/finetune_pipeline/runs/{quote(run_id)}/tasks/ingest_documents")
    assert "10 chunks, 100.0% of the text" in airflow.api.log("finetune_pipeline", run_id, "ingest_documents")


@pytest.mark.long
def test_a_new_edition_costs_one_call_and_flags_the_questions_that_it_touches(
    airflow: Airflow, simulator: RunningSimulator, page: Page, policy: Path
) -> None:
    """It needs the questions that the test above published."""
    dag = "refresh_dataset"
    airflow.pause("finetune_pipeline")
    conf: dict[str, JsonValue] = {
        "documents": [str(policy.parent)],
        "keys": ["policy_key"],
        "generation": {"repair": False, "chunks_per_call": 1},
    }
    first = airflow.run(dag, {**conf, "approve": False})
    assert airflow.states(dag, first)["publish"] == "success", airflow.explain(dag, first)

    calls = simulator.stats()["calls"]
    same = airflow.run(dag, conf)
    assert airflow.states(dag, same)["publish"] == "skipped" and simulator.stats()["calls"] == calls

    write_policy(policy, edition=2)
    new = airflow.run(dag, conf, wait=False)
    airflow.wait_for(dag, new, "approve", {"awaiting_input"})
    assert simulator.stats()["calls"] == calls + 1
    run_page = f"{airflow.services.url}/dags/{dag}/runs/{quote(new)}"
    page.goto(f"{run_page}/tasks/approve")
    page.get_by_role("link", name="Required Action").click()
    text = page.locator("body")
    expect(text).to_contain_text("0 added, 1 changed, 0 removed, 0 moved, 9 unchanged")
    expect(text).to_contain_text("도란-든든-상해보험/보통약관/제10조")
    airflow.pause("finetune_pipeline", paused=False)
    approve(page, run_page, "Publish the refreshed dataset?")
    assert airflow.wait(dag, new) == "success", airflow.explain(dag, new)
    assert airflow.states(dag, new)["publish"] == "success"
    check_training_starts(airflow, airflow.folder(dag, new).dataset)


def check_training_starts(airflow: Airflow, dataset: Path) -> None:
    """Check that the published dataset starts a training run, which generates nothing. Then stop this run."""
    dag = "finetune_pipeline"
    query = {"run_type": "asset_triggered", "order_by": "-run_after"}
    runs = airflow.wait_until(
        lambda: airflow.api.call("GET", f"/dags/{dag}/dagRuns", params=query)["dag_runs"],
        lambda: "the published dataset started no run",
    )
    run_id = runs[0]["dag_run_id"]
    airflow.wait_for(dag, run_id, "training_jobs", {"success", "failed", "upstream_failed"})
    states = airflow.states(dag, run_id)
    airflow.api.call("PATCH", f"/dags/{dag}/dagRuns/{run_id}", json={"state": "failed"})
    airflow.pause(dag)
    assert (states["generate"], states["training_jobs"]) == ("skipped", "success"), airflow.explain(dag, run_id)
    assert str(dataset) in airflow.api.log(dag, run_id, "check_input")
