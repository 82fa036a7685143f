"""Postgres goes away for a minute while a shard is generated. The run ends well, and no answer is paid for twice."""

from __future__ import annotations

import time

import pytest
from pydantic import JsonValue
from tests.distributed.cluster import KEYS, Cluster
from tests.distributed.conftest import Store

from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.files import read_jsonl
from insurance_rag.orchestration.runs import folder_under

pytestmark = [pytest.mark.airflow, pytest.mark.long, pytest.mark.timeout(1800)]

DAG = "refresh_dataset"
CONF: dict[str, JsonValue] = {
    "keys": [*KEYS],
    "approve": False,
    "reuse_answers": False,
    "generation": {"repair": False, "chunks_per_call": 1},
}
OUTAGE_S = 60.0


def test_a_run_survives_a_minute_without_the_database(cluster: Cluster, store: Store) -> None:
    """Meanwhile, a second deployment on the same shard ends with the name of the first, and pays for nothing."""
    cluster.api.wait_for_dag(DAG)
    before = cluster.delivered()
    run_id = cluster.airflow.run(DAG, CONF, wait=False)
    cluster.wait_until("answers arrive", lambda: cluster.delivered() > before)
    folder = folder_under(store.root, DAG, run_id)
    second = cluster.generate_elsewhere(public_uri(folder.root))
    with cluster.patient_scheduler():  # without the database, the scheduler ends, and a new one starts afterwards
        cluster.postgres.stop()
        output, _ = second.communicate(timeout=OUTAGE_S)
        time.sleep(OUTAGE_S)
        cluster.postgres.start()
        cluster.wait_until("the end of the run", lambda: cluster.run_ended(DAG, run_id))

    assert cluster.api.run_state(DAG, run_id) == "success", cluster.airflow.explain(DAG, run_id)
    assert second.returncode == 3 and "is in use by" in output, output
    assert cluster.delivered() - before == sum(1 for _ in read_jsonl(store.fetch(folder.chunks)))
    repeated = [t["task_id"] for t in cluster.api.task_instances(DAG, run_id) if t["try_number"] > 1]
    assert repeated == [], "a task that was running must not be killed"
