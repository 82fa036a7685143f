"""The pages the plugin serves, mounted at /run-report.

Airflow leaves a plugin's app open to anyone, so every route asks for a user who may read the DAG it is about. Folders
are looked up for runs that Airflow knows, by `run_folder` alone, so no request names a path.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag, requires_authenticated
from airflow.models import DagRun
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy import select

from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.runs import run_folder
from insurance_rag.report.collect import collect, collect_live
from insurance_rag.report.reader import fingerprint
from insurance_rag.report.render import Live, render_html, render_live_parts
from insurance_rag.report.runs import read_run, render_runs

#: Runs looked at for the page that lists them, newest first.
LATEST = 100

#: Airflow shows the tab in a frame; nobody else may.
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
def report(dag_id: str, run_id: str, session: SessionDep) -> Response:
    """The whole page of one run."""
    folder = _folder(dag_id, run_id, session)
    live = Live(
        poll=f"./{quote(run_id)}/news",
        clear=f"../../../../api/v2/dags/{quote(dag_id)}/clearTaskInstances",
        run_id=run_id,
        version=fingerprint(folder),
    )
    return HTMLResponse(render_html(collect(folder, name=f"{dag_id} · {run_id}"), live), headers=HEADERS)


@app.get("/dags/{dag_id}/runs/{run_id}/news", dependencies=[may_read])
def news(dag_id: str, run_id: str, session: SessionDep) -> Response:
    """What an open page asks for while the run works: the parts that change, and whether the rest has changed."""
    folder = _folder(dag_id, run_id, session)
    live = collect_live(folder)
    body = {
        "version": fingerprint(folder),
        "parts": render_live_parts(live),
        "running": any(job.state == "running" for job in live.jobs),
    }
    return JSONResponse(body, headers=HEADERS)


@app.get("/")
def runs(user: GetUserDep, session: SessionDep, compare: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
    """The latest runs of the DAGs this user may read; those named by `compare` side by side."""
    readable = get_auth_manager().get_authorized_dag_ids(user=user, method="GET", session=session)
    latest = session.execute(
        select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.run_after)
        .where(DagRun.dag_id.in_(readable))
        .order_by(DagRun.run_after.desc())
        .limit(LATEST)
    )
    lines: list[Any] = []
    for dag_id, run_id, state, when in latest:
        folder = run_folder(dag_id, run_id)
        if folder.root.is_dir():
            url = f"./dags/{quote(dag_id)}/runs/{quote(run_id)}"
            lines.append(read_run(folder, key=f"{dag_id}/{run_id}", url=url, state=str(state), when=when))
    return HTMLResponse(render_runs(lines, compare), headers=HEADERS)


def _folder(dag_id: str, run_id: str, session: SessionDep) -> RunFolder:
    known = session.scalar(select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if known is None:
        raise HTTPException(404, f"Airflow knows no run {run_id!r} of {dag_id!r}")
    return run_folder(dag_id, known)
