"""The set that a request is about, and what the user may do with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models import DagModel, DagRun
from fastapi import Depends, HTTPException
from sqlalchemy import select

from insurance_rag.core.artifact_store.locations import local_value, public_text, public_uri
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.artifact_parts import fetch_for_page
from insurance_rag.orchestration.runs import artifact_root, run_folder
from insurance_rag.review.store import ReviewStore
from review_pages.sets import LoadedSet, SetName, load_set, set_file, store_of

#: Reading a set needs the right to read the runs of the DAG. Deciding needs the right to trigger the DAG.
may_read = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.RUN))
may_decide = Depends(requires_access_dag(method="POST", access_entity=DagAccessEntity.RUN))


@dataclass(frozen=True)
class Place:
    """A set of a run that Airflow knows."""

    dag_id: str
    run_id: str
    name: SetName
    loaded: LoadedSet
    store: ReviewStore

    @property
    def path(self) -> str:
        """Path of the set's page, relative to the plugin."""
        return f"dags/{quote(self.dag_id)}/runs/{quote(self.run_id)}/{self.name}"


def known_run(dag_id: str, run_id: str, session: SessionDep) -> RunFolder:
    """Return the folder of a run. Raises a 404 error if Airflow does not know the run.

    A request can therefore not read an arbitrary path.
    """
    known = session.scalar(select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if known is None:
        raise HTTPException(404, f"Airflow has no run {run_id!r} of the DAG {dag_id!r}")
    run = run_folder(dag_id, known)
    fetch_for_page(run)
    return run


def the_place(dag_id: str, run_id: str, name: SetName, session: SessionDep) -> Place:
    """Return the set in the path of the request. Raises a 404 error if there is none."""
    run = known_run(dag_id, run_id, session)
    file = set_file(run, name)
    if file is None:
        raise HTTPException(404, f"the run {run_id!r} has no {name} to review yet; wait until it has made them")
    return Place(dag_id, run_id, name, load_set(run, name, file), store_of(name))


PlaceDep = Annotated[Place, Depends(the_place)]


def user_may_decide(dag_id: str, user: GetUserDep) -> bool:
    """Return whether the user may decide about sets of this DAG."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    allowed = get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
    )
    return bool(allowed)


def readable_dags(user: GetUserDep, session: SessionDep) -> set[str]:
    """Return the ids of the DAGs whose runs the user may read."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET", session=session))


def run_of_path(path: str, user: GetUserDep, session: SessionDep) -> tuple[str, str]:
    """Return the DAG id and the run id of the run whose folder contains `path`.

    Raises a 404 error if there is no such run, or if the user may not read it.
    """
    root, path = artifact_root(), str(local_value(path))
    for dag_id in readable_dags(user, session):
        if not path.startswith(str(run_folder(dag_id, "x").root.parent) + "/"):
            continue
        for run_id in session.scalars(select(DagRun.run_id).where(DagRun.dag_id == dag_id)):
            folder = str(run_folder(dag_id, run_id).root)
            if path == folder or path.startswith(f"{folder}/"):
                return dag_id, run_id
    where = f"{public_text(path)!r}; look for it in the list of sets ({public_uri(root)})"
    raise HTTPException(404, f"no run that you may read has made {where}")
