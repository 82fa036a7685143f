"""What people are told when a task fails or a run is late: what, why, what to do, and the command that resumes.

Always in the log (of the task, or of the triggerer); also posted as `{"text": ...}`, which Slack, Mattermost and most
chat tools take, where $ALERT_CONNECTION names a connection: its host is the webhook's URL, and its password, if there
is one, the URL's secret end.
"""

from __future__ import annotations

import logging
import os
import shlex
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseHook
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert
from airflow.sdk.exceptions import AirflowNotFoundException

from insurance_rag.orchestration.retries import RETRY_POLICY

log = logging.getLogger(__name__)

TIMEOUT_S = 10
LONGEST_REASON = 1500  # characters: the log has all of it


def notify_failure(context: Any) -> None:
    """Airflow's `on_failure_callback`: runs in the failed task's process, after its last try."""
    text = failure_text(context["ti"], context.get("exception"))
    log.error("%s", text)
    if connection_id := os.environ.get("ALERT_CONNECTION"):
        import httpx

        try:
            connection = BaseHook.get_connection(connection_id)
            httpx.post(_webhook(connection), json={"text": text}, timeout=TIMEOUT_S).raise_for_status()
        except (httpx.HTTPError, AirflowNotFoundException) as e:
            _log_undelivered(connection_id, e)


async def notify_late(hours: float, context: dict[str, Any]) -> None:
    """The deadline's callback: runs in the triggerer, once, when a run is not done in time."""
    run = context["dag_run"]
    text = late_text(run["dag_id"], run["dag_run_id"], hours)
    log.error("%s", text)
    if connection_id := os.environ.get("ALERT_CONNECTION"):
        import httpx

        try:
            connection = await BaseHook.aget_connection(connection_id)
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                (await client.post(_webhook(connection), json={"text": text})).raise_for_status()
        except (httpx.HTTPError, AirflowNotFoundException) as e:
            _log_undelivered(connection_id, e)


class RunQueued(BaseDeadlineReference):
    """Deadlines count from when the run was queued first; plugins/deadlines.py makes it known to Airflow.

    Airflow's own DAGRUN_QUEUED_AT cannot be used: in 3.3 no run that has it can be cleared (apache/airflow#70368).
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> Any:
        from airflow.models import DagRun
        from sqlalchemy import select

        return session.scalar(select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


def deadline_after(hours: float) -> DeadlineAlert:
    """The `deadline` of a DAG whose runs should be done `hours` after they were queued."""
    return DeadlineAlert(
        name=f"done in {hours:g} h",
        reference=RunQueued(),
        interval=timedelta(hours=hours),
        callback=AsyncCallback(notify_late, kwargs={"hours": hours}),
    )


def failure_text(ti: Any, error: BaseException | None) -> str:
    """Four lines: what failed, why, what to do, how to resume. `error` is None where Airflow itself ended the task."""
    label = getattr(ti, "rendered_map_index", None) or (ti.map_index if ti.map_index >= 0 else "")
    reason = f"{type(error).__name__}: {error}" if error else "the process ended without a word: see the task's log"
    advice = RETRY_POLICY.evaluate(error, ti.try_number, ti.max_tries).reason if error else None
    return "\n".join([
        f"failed: {ti.dag_id} · {ti.task_id}{f' [{label}]' if label != '' else ''} · {ti.run_id}",
        f"why:    {reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + ' ...'}",
        f"to do:  {advice or 'mend what the log names, then clear this task'}",
        f"resume: {resume_command(ti.dag_id, ti.run_id)}",
        f"look:   {_page(ti.dag_id, ti.run_id)}",
    ])  # fmt: skip


def late_text(dag_id: str, run_id: str, hours: float) -> str:
    return "\n".join([
        f"late:   {dag_id} · {run_id}: not done {hours:g} hours after it was queued",
        "to do:  see what runs, waits for a person (Required actions), a pool's slot or the day's quota; it goes on",
        f"look:   {_page(dag_id, run_id)}",
    ])  # fmt: skip


def resume_command(dag_id: str, run_id: str) -> str:
    """Clears what failed and what follows from it: nothing that is done is done again."""
    return shlex.join(["airflow", "dags", "clear", "--run-id", run_id, "--only-failed", "-y", dag_id])


def _page(dag_id: str, run_id: str) -> str:
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    return f"{base.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def _webhook(connection: Any) -> str:
    host, token = str(connection.host or "").rstrip("/"), connection.password
    return f"{host}/{token}" if token else host


def _log_undelivered(connection_id: str, error: Exception) -> None:
    """Without the error's text, which may hold the URL, and that is a secret."""
    log.warning("the alert could not be posted to connection %s: %s", connection_id, type(error).__name__)
