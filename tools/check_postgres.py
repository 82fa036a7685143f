"""Check, without Docker, that Airflow runs 50 mapped tasks with a real Postgres as its database.

    .venv/bin/python -m tools.check_postgres

Not part of the test suite. Requires the packages of the extra `cluster`, and Postgres (see local_servers.py).
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tools.local_servers import Postgres, running

from demo.airflow_stack import AirflowStack
from insurance_rag.orchestration.airflow_api import AirflowApi

WIDTH = 50
PARALLELISM = 16
WIDE_DAG = f"""
from airflow.sdk import dag, task

@dag(schedule=None)
def wide():
    @task
    def nothing(n):
        return n
    nothing.expand(n=list(range({WIDTH})))

wide()
"""


def main() -> int:
    """Start Postgres and Airflow, run the DAG with the mapped tasks and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)  # Postgres may run as another user
        with running(Postgres, root / "postgres") as postgres:
            return check(root, postgres.url)


def check(root: Path, database: str) -> int:
    """Start Airflow with its files in `root`, run the DAG and return the exit code."""
    (root / "dags").mkdir()
    (root / "dags" / "wide.py").write_text(WIDE_DAG)
    settings = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(PARALLELISM),
    }
    stack = AirflowStack(root / "home", root / "artifacts", settings, dags=root / "dags")
    try:
        started = time.monotonic()
        stack.start()
        print(f"healthy after {time.monotonic() - started:.0f} s", flush=True)
        return run(AirflowApi(stack.url, "admin", stack.settings["password"]))
    finally:
        stack.stop()


def run(api: AirflowApi) -> int:
    """Run the DAG. Return 0 if it succeeds, otherwise 1."""
    api.wait_for_dag("wide")
    started = time.monotonic()
    run_id = api.trigger("wide", {})
    while (state := api.run_state("wide", run_id)) not in ("success", "failed"):
        time.sleep(1)
    print(f"{WIDTH} mapped tasks, {PARALLELISM} at a time: {state} after {time.monotonic() - started:.0f} s")
    return 0 if state == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
