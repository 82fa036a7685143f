"""The pages that the plugin serves under /run-report.

Airflow does not protect the app of a plugin, so each route checks which DAGs the user may read. A route opens a run
folder only if Airflow's database contains the run. A request therefore cannot read an arbitrary path.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag, requires_authenticated
from airflow.models import DagRun, TaskInstance
from airflow.utils.state import TaskInstanceState
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy import select

from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.artifact_parts import fetch_for_list, fetch_for_page
from insurance_rag.orchestration.runs import run_folder
from insurance_rag.report.collect import collect, collect_live
from insurance_rag.report.render import Live, render_html, render_live_parts
from insurance_rag.report.results_version import results_version
from insurance_rag.report.runs import RunLine, read_run, render_runs

MAX_RUNS = 100
"""Maximum number of runs on the page that lists the latest runs."""

#: Response headers. They allow only Airflow itself to show the pages in a frame.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

app = FastAPI(
    title="Run report",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_authenticated())],
)
may_read = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.TASK_INSTANCE))


@app.get("/dags/{dag_id}/runs/{run_id}", dependencies=[may_read])
def report(dag_id: str, run_id: str, user: GetUserDep, session: SessionDep) -> Response:
    """Return the full report page for one run."""
    folder = _folder(dag_id, run_id, session)
    live = Live(
        updates_url=f"./{quote(run_id)}/updates",
        clear_url=f"../../../../api/v2/dags/{quote(dag_id)}/clearTaskInstances",
        run_id=run_id,
        version=results_version(folder),
        can_rerun=_can_rerun(dag_id, run_id, user, session),
    )
    return HTMLResponse(render_html(collect(folder, name=f"{dag_id} · {run_id}"), live), headers=HEADERS)


@app.get("/dags/{dag_id}/runs/{run_id}/updates", dependencies=[may_read])
def updates(dag_id: str, run_id: str, user: GetUserDep, session: SessionDep) -> Response:
    """Return the data that an open report page polls for.

    The data are the sections that change during a run, the version of the results, whether a stage is running, and
    whether the user may run failed tasks again.
    """
    folder = _folder(dag_id, run_id, session)
    live = collect_live(folder)
    body = {
        "version": results_version(folder),
        "parts": render_live_parts(live),
        "running": any(stage.state.state == "running" for stage in live.stages),
        "can_rerun": _can_rerun(dag_id, run_id, user, session),
    }
    return JSONResponse(body, headers=HEADERS)


@app.get("/")
def runs(user: GetUserDep, session: SessionDep, compare: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """Return a page with a list of the latest runs that the user may read and a comparison of the runs in `compare`."""
    readable = get_auth_manager().get_authorized_dag_ids(user=user, method="GET", session=session)
    latest = session.execute(
        select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.run_after)
        .where(DagRun.dag_id.in_(readable))
        .order_by(DagRun.run_after.desc())
        .limit(MAX_RUNS)
    )
    found = [(run_folder(dag_id, run_id), dag_id, run_id, state, when) for dag_id, run_id, state, when in latest]
    fetch_for_list(folder for folder, *_ in found)
    lines: list[RunLine] = []
    for folder, dag_id, run_id, state, when in found:
        if folder.root.is_dir():
            url = f"./dags/{quote(dag_id)}/runs/{quote(run_id)}"
            lines.append(read_run(folder, key=f"{dag_id}/{run_id}", url=url, state=str(state), when=when))
    return HTMLResponse(render_runs(lines, compare), headers=HEADERS)


def _folder(dag_id: str, run_id: str, session: SessionDep) -> RunFolder:
    known = session.scalar(select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if known is None:
        raise HTTPException(404, f"Airflow has no run {run_id!r} of the DAG {dag_id!r}")
    folder = run_folder(dag_id, known)
    fetch_for_page(folder)
    return folder


def _can_rerun(dag_id: str, run_id: str, user: GetUserDep, session: SessionDep) -> bool:
    """Return whether the run has a failed task that this user may clear."""
    failed = session.scalar(
        select(TaskInstance.task_id)
        .where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.state == TaskInstanceState.FAILED,
        )
        .limit(1)
    )
    if failed is None:
        return False
    allowed = get_auth_manager().is_authorized_dag(
        method="PUT", access_entity=DagAccessEntity.TASK_INSTANCE, details=DagDetails(id=dag_id), user=user
    )
    return bool(allowed)
