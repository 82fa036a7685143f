"""Create an Airflow database with the DAG and one failed run of it: `python make_run.py DAG_ID RUN_ID`."""

from __future__ import annotations

import sys

from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagbag import DBDagBag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils import timezone
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

STATES = {
    "plan": TaskInstanceState.SUCCESS,
    "generate": TaskInstanceState.FAILED,
    "validate": TaskInstanceState.UPSTREAM_FAILED,
}


def main(dag_id: str, run_id: str) -> None:
    initdb()
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
    bag = DagBag(bundle_name="dags-folder")
    sync_bag_to_db(bag, "dags-folder", None)
    now = timezone.utcnow()
    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
        run = dag.create_dagrun(
            run_id=run_id, run_after=now, run_type=DagRunType.MANUAL, triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.FAILED, start_date=now, session=session,
        )  # fmt: skip
        session.flush()
        for instance in session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run.run_id):
            instance.state = STATES[instance.task_id]
            if instance.task_id == "generate":
                instance.map_index = 4


main(*sys.argv[1:])
