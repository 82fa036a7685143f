"""Airflow plugin with a report tab for every DAG run, a page that compares runs, and a link on each task.

Tasks, the scheduler and the DAG processor also load this file, so it imports little. The modules of the pages are
imported only when the property `fastapi_apps` is read. Only the api-server reads this property.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from airflow.plugins_manager import AirflowPlugin

from insurance_rag.orchestration.report_link import ReportLink

if TYPE_CHECKING:
    from fastapi import FastAPI


class PluginApp(TypedDict):
    """Describes an app that the api-server mounts at `url_prefix`."""

    app: FastAPI
    url_prefix: str
    name: str


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
