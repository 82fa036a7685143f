"""Tests of the plugin in a real api-server: who may see what, and what is served."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.plugins.conftest import DAG, RUN, Site
from tests.report.sample_run import stage_progress

from insurance_rag.core.files import read_json, write_json

PAGE = f"/run-report/dags/{DAG}/runs/{quote(RUN)}"
ROUTES = (PAGE, f"{PAGE}/updates", "/run-report/")
PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.mark.parametrize("route", ROUTES)
def test_anonymous_gets_nothing(site: Site, route: str) -> None:
    with site.client() as client:
        response = client.get(route)
    assert response.status_code == 401
    assert "v1" not in response.text


def test_user_without_a_role_may_not_read_the_dag(site: Site) -> None:
    with site.client("stranger") as client:
        assert [client.get(route).status_code for route in ROUTES] == [403, 403, 200]
        assert RUN not in client.get("/run-report/").text


@pytest.mark.parametrize(
    "path",
    [
        f"/run-report/dags/{DAG}/runs/no_such_run",
        f"/run-report/dags/no_such_dag/runs/{quote(RUN)}",
        f"/run-report/dags/{DAG}/runs/..%2F..%2F..%2Fetc",
        f"/run-report/dags/{DAG}/runs/%2e%2e",
        f"/run-report/dags/..%2F{DAG}/runs/{quote(RUN)}",
        f"/run-report/dags/{DAG}/runs/{quote(RUN)}%2F..%2F..%2Fsecret",
        f"/run-report/dags/{DAG}/runs/{quote(RUN)}%00",
        "/run-report/dags/~/runs/~",
        "/run-report/..%2f..%2fetc%2fpasswd",
        "/run-report/docs",
        "/run-report/openapi.json",
        "/run-report/static/report.css",
    ],
)
def test_nothing_but_the_pages_is_served(site: Site, path: str) -> None:
    secret = site.run.root.parents[1] / "secret"
    secret.mkdir(exist_ok=True)
    write_json(secret / "evaluation" / "summary.json", {"leak": "LEAKED"})
    with site.client("admin") as client:
        response = client.get(path)
    assert response.status_code == 404
    assert "LEAKED" not in response.text


def test_viewer_sees_the_report_of_the_run(site: Site) -> None:
    with site.client("viewer") as client:
        response = client.get(PAGE)
    assert response.status_code == 200
    assert f"{DAG} · {RUN}" in response.text and "shard 5/7 · gemini_k5" in response.text
    assert response.headers["content-security-policy"] == "frame-ancestors 'self'"
    assert response.headers["cache-control"] == "no-store"
    assert "connect-src &#39;self&#39;" in response.text


def test_updates_contain_what_changed(site: Site) -> None:
    path = site.run.progress / "train-v1.json"
    progress = stage_progress("train", "v1", done=7).model_copy(update={"state": "running"})
    with site.client("viewer") as client:
        before = client.get(f"{PAGE}/updates").json()
        write_json(path, progress.model_dump())
        during = client.get(f"{PAGE}/updates").json()
        path.unlink()
        summary = site.run.evaluation / "summary.json"
        write_json(summary, read_json(summary))
        after = client.get(f"{PAGE}/updates").json()
    assert (before["running"], during["running"]) == (False, True)
    assert "7 / 40 " in during["parts"] and "7 / 40 " not in before["parts"]
    assert before["version"] == during["version"] != after["version"]


def test_runs_are_listed_and_compared(site: Site) -> None:
    with site.client("viewer") as client:
        listed = client.get("/run-report/").text
        compared = client.get("/run-report/", params={"compare": [f"{DAG}/{RUN}", "../../etc", "<script>"]}).text
    assert f'href="./dags/{DAG}/runs/{quote(RUN)}"' in listed and 'class="interval' not in listed
    assert compared.count('class="interval') > 6 and "<script>alert" not in compared


def test_airflow_knows_the_tab_and_the_page(site: Site) -> None:
    with site.client("admin") as client:
        errors = client.get("/api/v2/plugins/importErrors").json()
        plugins = client.get("/api/v2/plugins").json()["plugins"]
    assert errors["import_errors"] == []
    (plugin,) = [plugin for plugin in plugins if plugin["name"] == "run_report"]
    assert {view["destination"] for view in plugin["external_views"]} == {"dag_run", "nav"}


def links(site: Site, task: str, **where: int) -> dict[str, str | None]:
    with site.client("viewer") as client:
        answer = client.get(f"/api/v2/dags/{DAG}/dagRuns/{quote(RUN)}/taskInstances/{task}/links", params=where)
    found: dict[str, str | None] = answer.raise_for_status().json()["extra_links"]
    return found


def test_each_task_links_to_its_section(site: Site) -> None:
    assert links(site, "generate", map_index=4) == {"Run report": f"{PAGE}#usage"}
    assert links(site, "validate") == {"Run report": f"{PAGE}#funnel"}


def test_a_run_without_a_folder_has_no_link_and_an_empty_report(site: Site) -> None:
    elsewhere = site.run.root.with_name("elsewhere")
    shutil.move(site.run.root, elsewhere)
    try:
        assert links(site, "validate") == {"Run report": None}
        with site.client("viewer") as client:
            assert client.get(PAGE).status_code == 200
            assert RUN not in client.get("/run-report/").text
    finally:
        shutil.move(elsewhere, site.run.root)


def test_rerun_needs_the_users_own_rights(site: Site) -> None:
    body = {"dry_run": True, "dag_run_id": RUN, "only_failed": True}
    with site.client("viewer") as viewer, site.client("admin") as admin:
        assert viewer.post(f"/api/v2/dags/{DAG}/clearTaskInstances", json=body).status_code == 403
        cleared = admin.post(f"/api/v2/dags/{DAG}/clearTaskInstances", json=body).json()["task_instances"]
        offered = [client.get(f"{PAGE}/updates").json()["can_rerun"] for client in (viewer, admin)]
    assert {instance["task_id"] for instance in cleared} == {"generate", "validate"}
    assert offered == [False, True], "the page offers the rerun only to those who may do it"


def test_tasks_load_the_plugin_without_its_pages(site: Site) -> None:
    """Every task process and the DAG processor load the plugin file; only the api-server imports the pages."""
    heavy = ("insurance_rag.report", "fastapi", "torch", "pandas")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import run_report.run_report_plugin as p; p.RunReportPlugin()\n"
        f"print('loaded:', *(name for name in {heavy} if name in sys.modules))"
    )
    command = [sys.executable, "-c", script, str(PLUGINS)]
    done = subprocess.run(command, capture_output=True, text=True, env=site.stack.env, check=True)
    assert done.stdout.strip().endswith("loaded:")
