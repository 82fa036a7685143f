"""Airflow plugin that registers the start time from which the DAGs' deadlines are counted."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from insurance_rag.orchestration.alerts import FirstQueuedAt


class DeadlinesPlugin(AirflowPlugin):
    """Registers `FirstQueuedAt`, because Airflow cannot store a DAG whose deadline reference is not registered."""

    name = "deadlines"
    deadline_references: ClassVar[list[type[FirstQueuedAt]]] = [FirstQueuedAt]
