"""Check, without Docker, that Airflow runs 50 mapped tasks with a real Postgres as its database.

    .venv/bin/python tools/check_postgres.py

Uses the same database drivers and parallelism as docker-compose.yaml. Not part of the test suite. Requires Debian's
package `postgresql`, or $PGBIN with the path of the folder that contains the Postgres programs. The drivers from the
extra `cluster` are installed into a temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from demo.airflow_stack import AirflowStack, free_port
from insurance_rag.orchestration.airflow_api import AirflowApi

PROJECT = Path(__file__).parents[1]
DRIVERS = ("apache-airflow-providers-postgres", "asyncpg", "psycopg2-binary")
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
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "postgres") as url:
        root = Path(folder)
        root.chmod(0o755)
        (root / "dags").mkdir()
        (root / "dags" / "wide.py").write_text(WIDE_DAG)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(root / "packages")]
        subprocess.run([*uv, "--constraint", str(PROJECT / "requirements.lock"), *DRIVERS], check=True)
        settings = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
            "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(PARALLELISM),
            "PYTHONPATH": str(root / "packages"),
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


@contextlib.contextmanager
def postgres(data: Path) -> Iterator[str]:
    """Start Postgres on a free port with its files in `data`, and yield the URL of its database.

    If this process runs as root, Postgres runs as the user `postgres`.
    """
    data.mkdir()
    data.parent.chmod(0o755)
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(data, user)
    port = free_port()
    pg_ctl = [str(programs() / "pg_ctl"), "-D", str(data), "-w", "-s", "-l", str(data / "log")]
    subprocess.run([str(programs() / "initdb"), "-D", str(data), "-U", "airflow", "-A", "trust"],
                   check=True, user=user, stdout=subprocess.DEVNULL, cwd=data)  # fmt: skip
    subprocess.run([*pg_ctl, "-o", f"-p {port} -k {data} -h 127.0.0.1", "start"], check=True, user=user, cwd=data)
    try:
        yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=True, user=user, cwd=data)


def programs() -> Path:
    """Return $PGBIN, or else the program folder of the newest installed Postgres. Exits if there is none."""
    found = [Path(os.environ["PGBIN"])] if "PGBIN" in os.environ else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        sys.exit("Postgres is not installed; run apt-get install postgresql, or set PGBIN to its program folder")
    return found[-1]


if __name__ == "__main__":
    sys.exit(main())
