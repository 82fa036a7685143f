"""The texts of alerts: what happened, why, what to do, and how to resume."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Protocol, TypedDict
from urllib.parse import quote

from insurance_rag.orchestration.retries import RETRY_POLICY

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


class AlertContext(TypedDict, total=False):
    """The entries of Airflow's context that an alert reads. Which entries there are depends on the kind of callback."""

    ti: TaskInstance
    exception: BaseException | None
    dag_run: object
    """The record of the run, or a mapping of its fields in the callback of a deadline."""
    deadline: Mapping[str, object]
    """Only in the callback of a deadline."""
    reason: str
    """Only in the callback of a whole DAG: why the run ended in this state."""


def alert_text(context: AlertContext, hours: float | None = None) -> str:
    """Return the text that fits the event: a late run, a failed task, a task that is tried again, or a success.

    `hours` is the length of a missed deadline.
    """
    if "deadline" in context:
        return late_text(*_run_ids(context), hours)
    ti = context.get("ti")
    error = context.get("exception")
    state = getattr(ti, "state", None)
    if ti is None or "reason" in context:
        return run_text(*_run_ids(context), str(context.get("reason") or "ended"))
    if error is None and state == "success":
        return success_text(ti)
    text = failure_text(ti, error)
    return text.replace("failed:", "again: ", 1) if state == "up_for_retry" else text


def failure_text(ti: TaskInstance, error: BaseException | None) -> str:
    """Return five lines: what failed, why, what to do, how to resume and where to look.

    `error` is None if Airflow itself ended the task.
    """
    reason = f"{type(error).__name__}: {error}" if error else "the process exited without an error message"
    advice = RETRY_POLICY.evaluate(error, ti.try_number, ti.max_tries).reason if error else None
    return "\n".join([
        f"failed: {_task_name(ti)}",
        f"why:    {reason if len(reason) <= MAX_REASON else reason[:MAX_REASON] + ' ...'}",
        f"to do:  {advice or 'see the task log, fix the cause, then clear this task'}",
        f"resume: {resume_command(ti.dag_id, ti.run_id)}",
        f"look:   {run_page(ti.dag_id, ti.run_id)}",
    ])  # fmt: skip


def success_text(ti: TaskInstance) -> str:
    """Return two lines about a task that succeeded: its name and where to look."""
    return f"done:   {_task_name(ti)}\nlook:   {run_page(ti.dag_id, ti.run_id)}"


def run_text(dag_id: str, run_id: str, reason: str) -> str:
    """Return two lines about the end of a run: its name with the reason that Airflow gives, and where to look."""
    return f"run:    {dag_id} · {run_id}: {reason}\nlook:   {run_page(dag_id, run_id)}"


def late_text(dag_id: str, run_id: str, hours: float | None) -> str:
    """Return three lines about a late run: its name, what to do and where to look."""
    limit = "before its deadline" if hours is None else f"{hours:g} hours after it was queued"
    return "\n".join([
        f"late:   {dag_id} · {run_id}: not done {limit}",
        "to do:  find out what the run waits for: a person (Required Actions), a pool slot or the daily quota. "
        "The run continues",
        f"look:   {run_page(dag_id, run_id)}",
    ])  # fmt: skip


def resume_command(dag_id: str, run_id: str) -> str:
    """Return the `airflow` command that clears the failed tasks of a run and all tasks after them."""
    return shlex.join(["airflow", "dags", "clear", "--run-id", run_id, "--only-failed", "-y", dag_id])


def run_page(dag_id: str, run_id: str) -> str:
    """Return the address of the run's page in Airflow."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    return f"{base.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def _task_name(ti: TaskInstance) -> str:
    label = getattr(ti, "rendered_map_index", None) or (ti.map_index if ti.map_index >= 0 else "")
    return f"{ti.dag_id} · {ti.task_id}{f' [{label}]' if label != '' else ''} · {ti.run_id}"


def _run_ids(context: AlertContext) -> tuple[str, str]:
    """Return the DAG id and the run id. A deadline gives the run as a mapping, other callbacks as a record."""
    run = context.get("dag_run")
    if isinstance(run, Mapping):
        return str(run.get("dag_id", "")), str(run.get("dag_run_id") or run.get("run_id", ""))
    source = run or context.get("ti")
    return str(getattr(source, "dag_id", "")), str(getattr(source, "run_id", ""))
