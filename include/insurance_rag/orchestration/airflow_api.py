"""A small client for Airflow's REST API, used by the demo, the setup command and the tests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import JsonValue

from insurance_rag.core.errors import PipelineError

#: A JSON object in a response from Airflow. Airflow defines the fields, so they are not typed here.
ApiObject = dict[str, Any]


class AirflowApiError(PipelineError):
    """Airflow rejected a request. The message contains Airflow's response."""


class AirflowApi:
    """Sends requests to an Airflow server on behalf of a user, and renews the access token when it expires."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._login = {"username": username, "password": password}
        self._http = httpx.Client(base_url=url, timeout=60)

    def call(
        self,
        method: str,
        path: str,
        *,
        ok: Sequence[int] = (),
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Any:
        """Send one request to a path under /api/v2 and return the parsed JSON of the response.

        Returns None if the response is empty or its status is in `ok`. Raises AirflowApiError for other error statuses.
        """
        response = self._send(method, path, json, params)
        if response.status_code == 401:
            self._http.headers.pop("Authorization", None)
            response = self._send(method, path, json, params)
        if response.status_code in ok:
            return None
        if response.is_error:
            raise AirflowApiError(f"{method} {path}: {response.status_code} {response.text[:500]}")
        return response.json() if response.content else None

    def _send(
        self, method: str, path: str, json: Mapping[str, object] | None, params: Mapping[str, str | int] | None
    ) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            answer = self._http.post("/auth/token", json=self._login)
            if answer.is_error:
                raise AirflowApiError(f"login failed: {answer.status_code}; check the user and the password")
            self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        headers = {"Accept": "application/json"}
        return self._http.request(method, f"/api/v2{path}", json=json, params=params, headers=headers)

    def put_pool(self, name: str, slots: int, description: str, *, include_deferred: bool = False) -> None:
        """Create or update a pool."""
        pool = {"name": name, "slots": slots, "description": description, "include_deferred": include_deferred}
        if self.call("POST", "/pools", json=pool, ok=(409,)) is None:
            self.call("PATCH", f"/pools/{name}", json=pool)

    def put_connection(self, conn_id: str, fields: Mapping[str, JsonValue]) -> None:
        """Create or update a connection."""
        body = {"connection_id": conn_id, **fields}
        if self.call("POST", "/connections", json=body, ok=(409,)) is None:
            self.call("PATCH", f"/connections/{conn_id}", json=body)

    def wait_for_dag(self, dag_id: str, timeout_s: float = 180) -> None:
        """Wait until the DAG processor has stored the DAG. Raises AirflowApiError on an import error or a timeout."""
        deadline = time.monotonic() + timeout_s
        while self.call("GET", f"/dags/{dag_id}", ok=(404,)) is None:
            if errors := self.call("GET", "/importErrors")["import_errors"]:
                raise AirflowApiError(f"{errors[0]['filename']}: {errors[0]['stack_trace']}")
            if time.monotonic() > deadline:
                raise AirflowApiError(
                    f"DAG {dag_id} did not appear within {timeout_s:.0f} s; see the log of the DAG processor"
                )
            time.sleep(1)

    def trigger(self, dag_id: str, conf: Mapping[str, JsonValue]) -> str:
        """Unpause the DAG, start a run and return its id."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", json={"conf": dict(conf), "logical_date": None})
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[ApiObject]:
        """Return all task instances of a run, including mapped ones, as the JSON objects that Airflow sends."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[ApiObject] = []
        while True:
            page = self.call("GET", path, params={"limit": 100, "offset": len(found)})
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        """Return the log of one try of a task instance, with one log event per line."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.call("GET", path, params={"map_index": map_index})["content"]
        return "\n".join(_log_line(entry) for entry in content)


def _log_line(entry: ApiObject) -> str:
    """Return the text of a log event, followed by the type and message of each exception that was logged with it."""
    errors = [f"{e['exc_type']}: {e['exc_value']}" for e in entry.get("error_detail") or []]
    return "\n".join([str(entry.get("event", "")), *errors])
