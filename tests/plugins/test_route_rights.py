"""Every route of every plugin of the api-server refuses requests without a login. The routes are listed by the apps."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from tests.plugins.conftest import DAG, HERE, RUN, Site

PLUGINS = Path(__file__).parents[2] / "plugins"
VALUES = {"dag_id": DAG, "run_id": quote(RUN), "name": "rows", "form": "csv"}
"""A value for each parameter in the paths, so that the routes lead to something that exists."""
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
FORGED: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJhZG1pbiJ9."},
    {"Authorization": "Basic YWRtaW46YWRtaW4="},
    {"Cookie": "_token=x; review_session=x; session=admin"},
    {"X-Forwarded-User": "admin", "Remote-User": "admin", "X-Forwarded-For": "127.0.0.1"},
)


@dataclass(frozen=True)
class Route:
    method: str
    url: str


@pytest.fixture(scope="module")
def routes(site: Site) -> list[Route]:
    command = [sys.executable, str(HERE / "list_routes.py"), str(PLUGINS)]
    done = subprocess.run(command, env=site.stack.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    listed = json.loads(done.stdout.splitlines()[-1])
    return [Route(method, f"{prefix}{path}".format_map(VALUES)) for prefix, method, path in listed]


def test_every_plugin_is_listed(site: Site, routes: list[Route]) -> None:
    with site.client("admin") as client:
        plugins = client.get("/api/v2/plugins").json()["plugins"]
    served = {app["url_prefix"] for plugin in plugins for app in plugin["fastapi_apps"] if app.get("url_prefix")}
    own = {prefix for prefix in served if any(route.url.startswith(f"{prefix}/") for route in routes)}
    assert {"/review", "/run-report"} <= own
    assert served - own == {prefix for prefix in served if prefix in ("/edge_worker",)}, "a plugin is not tested"


def test_all_routes_are_plain_and_can_be_called(routes: list[Route]) -> None:
    assert len(routes) >= 11
    assert {route.method for route in routes} <= METHODS, "a mounted app or a web socket is not tested"
    assert not [route for route in routes if "{" in route.url], "give a value for this parameter"


@pytest.mark.parametrize("headers", FORGED, ids=["none", "unsigned token", "basic", "cookies", "proxy headers"])
def test_no_route_answers_without_a_login(site: Site, routes: list[Route], headers: dict[str, str]) -> None:
    with site.client() as client:
        answers = {
            (method, route.url): _status(client, method, route.url, headers)
            for route in routes
            for method in {route.method, *(["HEAD"] if route.method == "GET" else [])}
        }
    assert {key: status for key, status in answers.items() if status not in (401, 403, 405)} == {}
    assert all(answers[route.method, route.url] in (401, 403) for route in routes)


def test_a_user_without_a_role_reads_and_writes_nothing(site: Site, routes: list[Route]) -> None:
    """The pages that list runs answer with an empty list. All routes about a run are refused."""
    with site.client("stranger") as client:
        for route in routes:
            response = client.request(route.method, route.url)
            about_a_run = "/dags/" in route.url
            assert response.status_code in ((403,) if about_a_run else (200, 404, 422)), route
            assert quote(RUN) not in response.text and RUN not in response.text


def _status(client: httpx.Client, method: str, url: str, headers: dict[str, str]) -> int:
    body = {"data": {"key": "x", "action": "approve", "version": "0"}} if method == "POST" else {}
    return client.request(method, url, headers=headers, **body).status_code  # type: ignore[arg-type]
