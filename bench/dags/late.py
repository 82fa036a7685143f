"""A DAG whose runs miss their deadline: the task takes 20 seconds, the deadline is one second.

The triggerer must run the deadline's callback.
"""

from __future__ import annotations

import time

from airflow.sdk import dag, task

from insurance_rag.orchestration.alerts import deadline_after


@dag(schedule=None, deadline=deadline_after(hours=1 / 3600))
def late() -> None:
    @task
    def work() -> None:
        time.sleep(20)

    work()


late()
