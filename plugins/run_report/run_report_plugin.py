"""Airflow plugin with a report tab for every DAG run, a page that compares runs, and a link on each task.

Tasks, the scheduler and the DAG processor also load this file, so it imports little. The modules of the pages are
imported only when the property `fastapi_apps` is read. Only the api-server reads this property.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict
from urllib.parse import quote, urlsplit

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.models.taskinstancekey import TaskInstanceKey
    from airflow.sdk import BaseOperator
    from fastapi import FastAPI

#: Task id -> section of the report that the task's link opens. The links of all other tasks open the section `verdict`.
SECTIONS = {
    "plan": "usage",
    "generate": "usage",
    "plan_redistributed": "usage",
    "generate_redistributed": "usage",
    "validate": "funnel",
    "train": "training",
    "evaluate": "comparison",
    "promote": "verdict",
}


class PluginApp(TypedDict):
    """Describes an app that the api-server mounts at `url_prefix`."""

    app: FastAPI
    url_prefix: str
    name: str


class ReportLink(BaseOperatorLink):
    """A button on each task of a run that has a run folder. Tasks of other DAGs have no such button."""

    name = "Run report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the report section about this task, or "" (no button) if the run has no run folder."""
        from airflow.configuration import conf

        from insurance_rag.core.artifact_store.locations import location_of
        from insurance_rag.orchestration.runs import run_folder

        folder = run_folder(ti_key.dag_id, ti_key.run_id).root
        if not (folder.is_dir() or location_of(folder)):  # looking into an object store would take too long here
            return ""
        task = ti_key.task_id.rsplit(".", 1)[-1]
        # If a reverse proxy serves Airflow under a path, the base URL contains that path.
        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        page = f"dags/{quote(ti_key.dag_id)}/runs/{quote(ti_key.run_id)}"
        return f"{base}/run-report/{page}#{SECTIONS.get(task, 'verdict')}"


class RunReportPlugin(AirflowPlugin):
    """Registers the report tab, the page that compares runs, and the link on each task."""

    name = "run_report"
    external_views = [  # noqa: RUF012 - Airflow expects a list
        {
            "name": "Run report",
            "href": "run-report/dags/{DAG_ID}/runs/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "run_report",
        },
        {
            "name": "Run reports",
            "href": "run-report/",
            "destination": "nav",
            "category": "browse",
            "url_route": "run_reports",
        },
    ]
    global_operator_extra_links = [ReportLink()]  # noqa: RUF012

    @property
    def fastapi_apps(self) -> list[PluginApp]:
        """Import and return the app with the pages. Only the api-server reads this property."""
        from run_report.routes import app

        return [{"app": app, "url_prefix": "/run-report", "name": "Run report"}]
