"""Airflow plugin that registers the reference time of the DAGs' deadlines."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from insurance_rag.orchestration.alerts import FirstQueuedAt


class DeadlinesPlugin(AirflowPlugin):
    """Airflow can only store a DAG whose deadline reference is registered."""

    name = "deadlines"
    deadline_references: ClassVar[list[type[FirstQueuedAt]]] = [FirstQueuedAt]
