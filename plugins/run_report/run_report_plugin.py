"""Airflow plugin: a report tab in the DAG-run page, a page under Browse that compares runs, a link on each task.

Tasks, scheduler and DAG processor load this file too, so it imports little; only the api-server asks for the app.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

#: Task id -> the part of the report that shows its work; any other task of a run with a report gets the top.
PARTS = {
    "plan": "books",
    "generate": "books",
    "plan_redistributed": "books",
    "generate_redistributed": "books",
    "validate": "funnel",
    "train": "training",
    "evaluate": "comparison",
    "promote": "verdict",
}


class ReportLink(BaseOperatorLink):
    """A button on each task of a run that has a folder of artifacts; other DAGs' tasks get none."""

    name = "Run report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        from airflow.configuration import conf

        from insurance_rag.orchestration.runs import run_folder

        if not run_folder(ti_key.dag_id, ti_key.run_id).root.is_dir():
            return ""
        task = ti_key.task_id.rsplit(".", 1)[-1]
        below = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")  # where a proxy serves Airflow
        page = f"dags/{quote(ti_key.dag_id)}/runs/{quote(ti_key.run_id)}"
        return f"{below}/run-report/{page}#{PARTS.get(task, 'verdict')}"


class RunReportPlugin(AirflowPlugin):
    name = "run_report"
    external_views = [  # noqa: RUF012 - Airflow's own form
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
    def fastapi_apps(self) -> list[dict[str, Any]]:
        from run_report.routes import app

        return [{"app": app, "url_prefix": "/run-report", "name": "Run report"}]
