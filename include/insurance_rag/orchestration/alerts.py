"""Alerts about a failed task or a late run, which the DAGs share. `AlertNotifier` logs and posts them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from insurance_rag.orchestration.notifier import AlertNotifier

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

notify_failure = AlertNotifier()
"""Callback of every task. Airflow calls it in the task process after the last try."""


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
        callback=AsyncCallback(AlertNotifier, kwargs={"hours": hours}),
    )
