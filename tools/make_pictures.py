"""Take all screenshots in docs/images again, from real runs in the embedded Airflow. `make pictures` runs this script.

The screenshots of the report show the newest successful run of `finetune_pipeline`, e.g. from `make demo`. If there is
none, a demo run is started first. The screenshots of a failed shard and of the approval show a run of `refresh_dataset`
with three API keys. The simulator rejects one of the keys. At the end, the script answers the approval with "Reject",
so the dataset is not published.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright
from pydantic import JsonValue

from demo.airflow_stack import PROJECT_ROOT
from demo.config import DEMO_RUN
from demo.services import Services
from gemini_simulator import running_simulator
from insurance_rag.chunks import SAMPLE_CHUNKS
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import read_jsonl, write_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.runs import folder_under

FINETUNE, REFRESH = "finetune_pipeline", "refresh_dataset"
AIRFLOW_SIZE, REPORT_SIZE = (1280, 800), (1200, 1000)
TIMEOUT_S = 900
SETTLE_MS = 1500
"""Milliseconds to wait before taking a screenshot, so that the page can finish its animations and requests."""

#: Airflow connection -> its API key, for the refresh run. The simulator rejects the key of the connection REJECTED.
KEYS = {"team_k1": "picture-key-1", "team_k2": "picture-key-2", "team_k3": "picture-key-3"}
REJECTED = "team_k2"


def main() -> None:
    """Take all screenshots. If the services are not running, start them first and stop them at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, default=PROJECT_ROOT / "airflow_home", help="home of the embedded Airflow")
    parser.add_argument("--artifacts", type=Path, default=PROJECT_ROOT / "artifacts", help="parent of the run folders")
    parser.add_argument("--run-id", help="finetune_pipeline run to show; default: the newest successful one")
    parser.add_argument(
        "--report-only", type=Path, metavar="RUN", help="only take report pictures, from this run folder"
    )
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT / "docs" / "images", help="folder for the pictures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.report_only:
        with browser() as chromium:
            take_report_pictures(chromium, RunFolder(args.report_only), args.out)
        return
    os.chdir(PROJECT_ROOT)  # so that the forms can show paths relative to the project
    services = Services(args.home.resolve(), args.artifacts.resolve())
    was_running = services.running
    try:
        api = services.start()
        run_id = args.run_id or newest_run(api) or demo_run(api)
        with browser() as chromium:
            take_report_pictures(chromium, folder_under(services.artifacts, FINETUNE, run_id), args.out)
            page = logged_in(chromium, services)
            take_report_tab(page, services, run_id, args.out)
            take_refresh_pictures(page, api, services, args.out)
    finally:
        if not was_running:
            services.stop()


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium inside the `with` block: $CHROMIUM, an installed one, or playwright's own download."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


# ---- runs


def newest_run(api: AirflowApi) -> str | None:
    """Return the id of the newest successful run of `finetune_pipeline`, or None if there is none."""
    query: dict[str, str | int] = {"state": "success", "order_by": "-run_after", "limit": 1}
    runs = api.call("GET", f"/dags/{FINETUNE}/dagRuns", params=query)["dag_runs"]
    return str(runs[0]["dag_run_id"]) if runs else None


def demo_run(api: AirflowApi) -> str:
    """Run `finetune_pipeline` with default settings, as `make demo` does, and return the id of the run."""
    run_id = api.trigger(FINETUNE, DEMO_RUN)
    wait_for_run(api, FINETUNE, run_id, "success")
    return run_id


def wait_for_run(api: AirflowApi, dag_id: str, run_id: str, wanted: str) -> None:
    """Wait until a run has ended. Raises IncompleteError after TIMEOUT_S, or if the final state is not `wanted`."""
    deadline = time.monotonic() + TIMEOUT_S
    while (state := api.run_state(dag_id, run_id)) not in ("success", "failed"):
        if time.monotonic() > deadline:
            raise IncompleteError(f"{dag_id} {run_id} is still {state} after {TIMEOUT_S} s; see its task logs")
        time.sleep(2)
    if state != wanted:
        raise IncompleteError(f"{dag_id} {run_id} ended as {state}, not as {wanted}; see its task logs")


def wait_for_approval(api: AirflowApi, run_id: str) -> None:
    """Wait until the run asks for approval of its dataset. Raises IncompleteError after TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while ("approve", "awaiting_input") not in {
        (i["task_id"], i["state"]) for i in api.task_instances(REFRESH, run_id)
    }:
        if time.monotonic() > deadline:
            raise IncompleteError(f"{REFRESH} {run_id} did not reach its approval; see its task logs")
        time.sleep(2)


# ---- screenshots of Airflow


def logged_in(chromium: Browser, services: Services) -> Page:
    """Return a new page that has logged in to Airflow as admin."""
    width, height = AIRFLOW_SIZE
    page = chromium.new_context(viewport={"width": width, "height": height}, locale="en-US").new_page()
    page.set_default_timeout(60_000)
    page.goto(services.url)
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", services.password)
    page.click("button[type=submit]")
    page.get_by_role("button", name="Admin").wait_for()
    return page


def take(page: Page, out: Path, name: str) -> None:
    """Save a screenshot of the visible part of the page as `name`.png."""
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=out / f"{name}.png")
    print(f"{out / name}.png")


def take_report_tab(page: Page, services: Services, run_id: str, out: Path) -> None:
    """Take a screenshot of the report tab on the page of a run in Airflow."""
    page.goto(f"{services.url}/dags/{FINETUNE}/runs/{quote(run_id)}")
    page.get_by_role("link", name="Run report").click()
    page.frame_locator("iframe").locator("#verdict h1").wait_for()
    take(page, out, "airflow-report")


def take_refresh_pictures(page: Page, api: AirflowApi, services: Services, out: Path) -> None:
    """Take screenshots of the trigger form, a shard with a rejected key, the retry dialog, and the approval."""
    chunks = write_new_edition(services.artifacts)
    states = {KEYS[REJECTED]: "invalid"}
    with running_simulator(quota={"rpm": 60}, speed=20, defects=0.1, key_states=states) as simulator:
        for name, key in KEYS.items():
            put_key(api, name, simulator.url, key)
        take_form(page, services.url, chunks, out)
        conf: dict[str, JsonValue] = {"chunks": chunks, "keys": [*KEYS], "generation": {"redistribute": False}}
        run_id = api.trigger(REFRESH, conf)
        run_page = f"{services.url}/dags/{REFRESH}/runs/{quote(run_id)}"
        wait_for_run(api, REFRESH, run_id, "failed")
        page.goto(f"{run_page}/tasks/generate/mapped")
        page.get_by_text("Failed").first.wait_for()
        take(page, out, "airflow-shards")

        put_key(api, REJECTED, simulator.url, "picture-key-4")  # replaces the rejected key, as a user would
        page.goto(run_page)
        page.get_by_role("button", name="Press shift+c to clear").click()
        dialog = page.get_by_role("dialog").filter(has_text="Clear Dag Run")
        dialog.get_by_text("Clear only failed tasks").click()
        dialog.get_by_text("Affected Tasks:").wait_for()
        take(page, out, "airflow-clear")
        dialog.get_by_role("button", name="Confirm").click()

        wait_for_approval(api, run_id)
        page.goto(f"{run_page}/tasks/approve")
        page.get_by_role("link", name="Required Action").click()
        page.get_by_text("rows kept").wait_for()
        take(page, out, "airflow-approval")
        reject(api, run_id)


def take_form(page: Page, url: str, chunks: str, out: Path) -> None:
    """Fill in the trigger form and take a screenshot of it. The form is not submitted."""
    page.goto(f"{url}/dags/{REFRESH}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    form.locator("#element_chunks").fill(chunks)
    form.locator("#element_keys").fill("\n".join(KEYS))
    form.locator("#element_chunks").scroll_into_view_if_needed()
    take(page, out, "airflow-form")


def write_new_edition(artifacts: Path) -> str:
    """Write the sample chunks as a new edition of the policies and return the path to enter into the trigger form.

    Each chunk gets a new number in its text. Without new texts, the run would reuse the answers of earlier runs and
    would not use the rejected key.
    """
    path = artifacts / "input" / "policies_2027.jsonl"
    number = f"\n(약관 번호 2027-{time.time():.0f})"
    write_jsonl(path, ({**row, "text": row["text"] + number} for row in read_jsonl(SAMPLE_CHUNKS)))
    return str(path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path)


def put_key(api: AirflowApi, name: str, url: str, key: str) -> None:
    """Create or update the connection of an API key."""
    api.put_connection(name, {"conn_type": "gemini", "host": url, "password": key})


def reject(api: AirflowApi, run_id: str) -> None:
    """Send "Reject" repeatedly until the run has ended. Airflow can lose a response that is sent too early."""
    path = f"/dags/{REFRESH}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    deadline = time.monotonic() + TIMEOUT_S
    while api.run_state(REFRESH, run_id) == "running" and time.monotonic() < deadline:
        api.call("PATCH", path, json={"chosen_options": ["Reject"], "params_input": {}}, ok=(409,))
        time.sleep(5)


# ---- screenshots of the report file


def take_report_pictures(chromium: Browser, run: RunFolder, out: Path) -> None:
    """Take three screenshots: the verdict in Korean, the dataset in English, and an expanded question in dark mode."""
    if not run.report.is_file():
        raise InvalidInputError(f"{run.root}: has no report.html; write it with `insurance-rag report`")
    page = report_page(chromium, run, "ko-KR", "light")
    take(page, out, "report-verdict-ko")
    page = report_page(chromium, run, "en-US", "light")
    page.locator("#funnel .reasons summary").first.click()
    scroll_to(page, "#funnel")
    take(page, out, "report-rows-en")
    page = report_page(chromium, run, "en-US", "dark")
    page.select_option("#filters select[name=finding]", "any")
    page.locator(".question summary").first.click()
    scroll_to(page, "#questions")
    take(page, out, "report-questions-en-dark")


def report_page(chromium: Browser, run: RunFolder, locale: str, scheme: str) -> Page:
    """Open a run's report file in a browser that uses the language `locale` and the color scheme `light` or `dark`."""
    width, height = REPORT_SIZE
    context = chromium.new_context(viewport={"width": width, "height": height}, locale=locale)
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.goto(run.report.resolve().as_uri())
    return page


def scroll_to(page: Page, selector: str) -> None:
    """Scroll the first element that matches `selector` to the top of the window."""
    page.evaluate("(selector) => document.querySelector(selector).scrollIntoView()", selector)


if __name__ == "__main__":
    main()
