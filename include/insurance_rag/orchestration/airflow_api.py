"""A small client of Airflow's REST API: what the demo, the set-up command and the tests ask of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

from insurance_rag.core.errors import PipelineError


class AirflowApiError(PipelineError):
    """Airflow refused a request; the message holds its answer."""


class AirflowApi:
    """Speaks to one Airflow with a user's token, renewed when it expires."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._login = {"username": username, "password": password}
        self._http = httpx.Client(base_url=url, timeout=60)

    def call(self, method: str, path: str, *, ok: tuple[int, ...] = (), **kwargs: Any) -> Any:
        """One request under /api/v2; the answer's JSON, or None for an allowed status in `ok`."""
        response = self._send(method, path, **kwargs)
        if response.status_code == 401:
            self._http.headers.pop("Authorization", None)
            response = self._send(method, path, **kwargs)
        if response.status_code in ok:
            return None
        if response.is_error:
            raise AirflowApiError(f"{method} {path}: {response.status_code} {response.text[:500]}")
        return response.json() if response.content else None

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            answer = self._http.post("/auth/token", json=self._login)
            if answer.is_error:
                raise AirflowApiError(f"login refused: {answer.status_code}")
            self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return self._http.request(method, f"/api/v2{path}", **kwargs)

    def put_pool(self, name: str, slots: int, description: str, *, include_deferred: bool = False) -> None:
        pool = {"name": name, "slots": slots, "description": description, "include_deferred": include_deferred}
        if self.call("POST", "/pools", json=pool, ok=(409,)) is None:
            self.call("PATCH", f"/pools/{name}", json=pool)

    def put_connection(self, conn_id: str, fields: Mapping[str, Any]) -> None:
        body = {"connection_id": conn_id, **fields}
        if self.call("POST", "/connections", json=body, ok=(409,)) is None:
            self.call("PATCH", f"/connections/{conn_id}", json=body)

    def wait_for_dag(self, dag_id: str, timeout_s: float = 180) -> None:
        """Wait until the DAG processor has stored the DAG; import errors end the wait."""
        deadline = time.monotonic() + timeout_s
        while self.call("GET", f"/dags/{dag_id}", ok=(404,)) is None:
            if errors := self.call("GET", "/importErrors")["import_errors"]:
                raise AirflowApiError(f"{errors[0]['filename']}: {errors[0]['stack_trace']}")
            if time.monotonic() > deadline:
                raise AirflowApiError(f"DAG {dag_id} did not appear within {timeout_s:.0f} s")
            time.sleep(1)

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run (unpausing the DAG) and return its id."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", json={"conf": dict(conf), "logical_date": None})
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", path, params={"limit": 100, "offset": len(found)})
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        answer = self.call("GET", path, params={"map_index": map_index}, headers={"Accept": "application/json"})
        content = answer["content"]
        return "\n".join(_log_line(entry) for entry in content)


def _log_line(entry: dict[str, Any]) -> str:
    """The event, and of an exception its name and message."""
    errors = [f"{e['exc_type']}: {e['exc_value']}" for e in entry.get("error_detail") or []]
    return "\n".join([str(entry.get("event", "")), *errors])
