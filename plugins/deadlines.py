"""Airflow plugin: makes known what the DAGs' deadlines count from."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from insurance_rag.orchestration.alerts import RunQueued


class DeadlinesPlugin(AirflowPlugin):
    name = "deadlines"
    deadline_references = [RunQueued]  # noqa: RUF012 - Airflow's own form
