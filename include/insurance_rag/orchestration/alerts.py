"""Alerts about a failed task or a late run: what happened, why, what to do, and how to resume.

Alerts are always logged. If $ALERT_CONNECTION names a connection, they are also posted to a webhook as `{"text": ...}`.
Slack, Mattermost and most other chat tools accept this format. The field `host` of the connection contains the URL of
the webhook. To keep the last segment of the URL secret, omit it from `host` and enter it in the field `password`.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypedDict
from urllib.parse import quote

import httpx
from airflow.sdk import BaseHook, Connection
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert
from airflow.sdk.exceptions import AirflowNotFoundException

from insurance_rag.orchestration.retries import RETRY_POLICY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

TIMEOUT_S = 10
MAX_REASON = 1500
"""Maximum number of characters of the error message in an alert. The log contains the full error message."""


class TaskInstance(Protocol):
    """The attributes of Airflow's task instance that an alert uses."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    rendered_map_index: str | None
    try_number: int
    max_tries: int


class FailureContext(TypedDict, total=False):
    """The entries of Airflow's context that the failure callback reads."""

    ti: TaskInstance
    exception: BaseException | None


class DeadlineContext(TypedDict):
    """The context that Airflow passes to a deadline callback."""

    dag_run: Mapping[str, str]
    deadline: Mapping[str, object]


def notify_failure(context: FailureContext) -> None:
    """Log and post that a task failed. Airflow calls this function in the task process after the last try."""
    text = failure_text(context["ti"], context.get("exception"))
    log.error("%s", text)
    if connection_id := os.environ.get("ALERT_CONNECTION"):
        try:
            connection = BaseHook.get_connection(connection_id)
            httpx.post(_webhook(connection), json={"text": text}, timeout=TIMEOUT_S).raise_for_status()
        except (httpx.HTTPError, AirflowNotFoundException) as e:
            _log_undelivered(connection_id, e)


async def notify_late(hours: float, context: DeadlineContext) -> None:
    """Log and post that a run is late. Airflow calls this deadline callback once per run, in the triggerer."""
    run = context["dag_run"]
    text = late_text(run["dag_id"], run["dag_run_id"], hours)
    log.error("%s", text)
    if connection_id := os.environ.get("ALERT_CONNECTION"):
        try:
            connection = await BaseHook.aget_connection(connection_id)
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                (await client.post(_webhook(connection), json={"text": text})).raise_for_status()
        except (httpx.HTTPError, AirflowNotFoundException) as e:
            _log_undelivered(connection_id, e)


class FirstQueuedAt(BaseDeadlineReference):
    """Deadline reference: the time at which a run was first queued. plugins/deadlines.py registers this class.

    Airflow's built-in DAGRUN_QUEUED_AT is not an option: Airflow 3.3 cannot clear a run with such a deadline
    (apache/airflow#70368).
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    @property
    def reference_name(self) -> str:
        """Return the name of the reference time. The DAG page shows it after "Must complete within a day of"."""
        return "the time it was first queued"

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        return session.scalar(select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


def deadline_after(hours: float) -> DeadlineAlert:
    """Return a deadline for DAGs whose runs should finish within `hours` hours after they were first queued."""
    return DeadlineAlert(
        name=f"done in {hours:g} h",
        reference=FirstQueuedAt(),
        interval=timedelta(hours=hours),
        callback=AsyncCallback(notify_late, kwargs={"hours": hours}),
    )


def failure_text(ti: TaskInstance, error: BaseException | None) -> str:
    """Return five lines: what failed, why, what to do, how to resume and where to look.

    `error` is None if Airflow itself ended the task.
    """
    label = getattr(ti, "rendered_map_index", None) or (ti.map_index if ti.map_index >= 0 else "")
    reason = f"{type(error).__name__}: {error}" if error else "the process exited without an error message"
    advice = RETRY_POLICY.evaluate(error, ti.try_number, ti.max_tries).reason if error else None
    return "\n".join([
        f"failed: {ti.dag_id} · {ti.task_id}{f' [{label}]' if label != '' else ''} · {ti.run_id}",
        f"why:    {reason if len(reason) <= MAX_REASON else reason[:MAX_REASON] + ' ...'}",
        f"to do:  {advice or 'see the task log, fix the cause, then clear this task'}",
        f"resume: {resume_command(ti.dag_id, ti.run_id)}",
        f"look:   {_page(ti.dag_id, ti.run_id)}",
    ])  # fmt: skip


def late_text(dag_id: str, run_id: str, hours: float) -> str:
    """Return three lines about a late run: its name, what to do and where to look."""
    return "\n".join([
        f"late:   {dag_id} · {run_id}: not done {hours:g} hours after it was queued",
        "to do:  find out what the run waits for: a person (Required Actions), a pool slot or the daily quota. "
        "The run continues",
        f"look:   {_page(dag_id, run_id)}",
    ])  # fmt: skip


def resume_command(dag_id: str, run_id: str) -> str:
    """Return the `airflow` command that clears the failed tasks of a run and all tasks after them."""
    return shlex.join(["airflow", "dags", "clear", "--run-id", run_id, "--only-failed", "-y", dag_id])


def _page(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    return f"{base.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def _webhook(connection: Connection) -> str:
    host, token = str(connection.host or "").rstrip("/"), connection.password
    return f"{host}/{token}" if token else host


def _log_undelivered(connection_id: str, error: Exception) -> None:
    """Log only the type of the error, because its text can contain the secret URL."""
    log.warning("the alert could not be posted to connection %s: %s", connection_id, type(error).__name__)
