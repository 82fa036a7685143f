"""The link on each task of a run that leads to the section of the run report about the task."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.models.taskinstancekey import TaskInstanceKey
    from airflow.sdk import BaseOperator

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
