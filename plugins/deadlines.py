"""Airflow plugin that registers the start time from which the DAGs' deadlines are counted."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from insurance_rag.orchestration.alerts import FirstQueuedAt


class DeadlinesPlugin(AirflowPlugin):
    """Registers `FirstQueuedAt`, the reference time of the deadlines. Without it, Airflow could not store the DAGs."""

    name = "deadlines"
    deadline_references: ClassVar[list[type[FirstQueuedAt]]] = [FirstQueuedAt]
