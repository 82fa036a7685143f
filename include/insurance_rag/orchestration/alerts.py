"""Messages about a failed task or a late run: what happened, why, what to do, and the command that resumes.

They are always logged (by the task, or by the triggerer). If $ALERT_CONNECTION names a connection, they are also posted
as `{"text": ...}`, which Slack, Mattermost and most chat tools accept. The host of the connection is the URL of the
webhook; its password, if it has one, is the secret end of that URL.
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
"""Characters of the reason in a message; the log has all of it."""


class TaskInstance(Protocol):
    """The part of Airflow's task instance that a message needs."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    rendered_map_index: str | None
    try_number: int
    max_tries: int


class FailureContext(TypedDict, total=False):
    """The part of Airflow's context that a failure callback needs."""

    ti: TaskInstance
    exception: BaseException | None


class DeadlineContext(TypedDict):
    """What Airflow passes to the callback of a deadline."""

    dag_run: Mapping[str, str]
    deadline: Mapping[str, object]


def notify_failure(context: FailureContext) -> None:
    """Log and post a failure: Airflow's `on_failure_callback`, called in the process of the task after its last try."""
    text = failure_text(context["ti"], context.get("exception"))
    log.error("%s", text)
    if connection_id := os.environ.get("ALERT_CONNECTION"):
        try:
            connection = BaseHook.get_connection(connection_id)
            httpx.post(_webhook(connection), json={"text": text}, timeout=TIMEOUT_S).raise_for_status()
        except (httpx.HTTPError, AirflowNotFoundException) as e:
            _log_undelivered(connection_id, e)


async def notify_late(hours: float, context: DeadlineContext) -> None:
    """Log and post that a run is late: the callback of the deadline, called once in the triggerer."""
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
    """Deadline reference: the time at which a run was first queued. plugins/deadlines.py registers it with Airflow.

    Airflow's own DAGRUN_QUEUED_AT cannot be used: in 3.3 a run that has it cannot be cleared (apache/airflow#70368).
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    @property
    def reference_name(self) -> str:
        """Completes the sentence of the DAG page: "Must complete within a day of ..."."""
        return "the time it was first queued"

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        return session.scalar(select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


def deadline_after(hours: float) -> DeadlineAlert:
    """Return the `deadline` of a DAG whose runs should be done `hours` after they were first queued."""
    return DeadlineAlert(
        name=f"done in {hours:g} h",
        reference=FirstQueuedAt(),
        interval=timedelta(hours=hours),
        callback=AsyncCallback(notify_late, kwargs={"hours": hours}),
    )


def failure_text(ti: TaskInstance, error: BaseException | None) -> str:
    """Return five lines: what failed, why, what to do, how to resume, where to look.

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
    """Return three lines about a run that is late."""
    return "\n".join([
        f"late:   {dag_id} · {run_id}: not done {hours:g} hours after it was queued",
        "to do:  find out what it waits for: a person (Required Actions), a slot of a pool or the daily quota. "
        "The run continues",
        f"look:   {_page(dag_id, run_id)}",
    ])  # fmt: skip


def resume_command(dag_id: str, run_id: str) -> str:
    """Return the command that clears the failed tasks and those after them. Finished work is not repeated."""
    return shlex.join(["airflow", "dags", "clear", "--run-id", run_id, "--only-failed", "-y", dag_id])


def _page(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    return f"{base.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def _webhook(connection: Connection) -> str:
    host, token = str(connection.host or "").rstrip("/"), connection.password
    return f"{host}/{token}" if token else host


def _log_undelivered(connection_id: str, error: Exception) -> None:
    """Log only the type of the error: its text can contain the URL, which is a secret."""
    log.warning("the alert could not be posted to connection %s: %s", connection_id, type(error).__name__)
