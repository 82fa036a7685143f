"""Measure the embedded Airflow (SQLite, eight concurrent tasks): its overhead per shard and its recovery from a kill.

    python -m bench.orchestration                    all parts: 50, 500, late, kill; about 20 minutes on two idle cores
    python -m bench.orchestration --only 50 kill     only some parts

`50` and `500` run this many shards that do nothing, so the duration of the run is Airflow's overhead. `late` checks
that a missed deadline is logged. `kill` sends SIGKILL to the scheduler and all its tasks, once during generation and
once during training. After each kill, the scheduler is started again. At the end, `kill` measures how many answers were
requested twice and where training resumed. Exits with 1 if one of these measurements finds a problem.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from demo.airflow_stack import PROJECT_ROOT, AirflowStack
from gemini_simulator import running_simulator
from insurance_rag.core.files import read_json
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.runs import folder_under
from insurance_rag.orchestration.setup import set_up_pools

OVERHEAD_LIMIT_S = 90
"""Longest time that a run with 50 no-op shards may take."""
WAIT_S = 1500
KEYS = ("bench_k1", "bench_k2", "bench_k3")
RESUMED = "resuming from "
"""Text that precedes the path of the checkpoint in the log of a training task."""

Facts = dict[str, str | int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["50", "500", "late", "kill"], metavar="NAME")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT / "docs" / "results" / "airflow.md")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    lines, failures = [], []
    for name in args.only:
        facts, problems = {"late": late, "kill": kill}[name]() if not name.isdigit() else wide(int(name))
        lines += [f"| {fact} | {value} |" for fact, value in facts.items()]
        failures += problems
        print("\n".join(f"{fact}: {value}" for fact, value in facts.items()), flush=True)
    head = ["# Airflow on SQLite, parallelism 8", "", "`make bench-airflow`; two cores.", "", "| | |", "|---|---|"]
    args.out.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


def wide(shards: int) -> tuple[Facts, list[str]]:
    """Run `shards` no-op shards. Return the measured facts and a list of problems."""
    with running_stack(PROJECT_ROOT / "bench" / "dags", "wide") as (stack, api):
        run_id = api.trigger("wide", {"shards": shards})
        wait(lambda: api.run_state("wide", run_id) in ("success", "failed"))
        run = api.call("GET", f"/dags/wide/dagRuns/{run_id}")
        seconds = (_time(run["end_date"]) - _time(run["start_date"])).total_seconds()
        tasks = [i for i in api.task_instances("wide", run_id) if i["task_id"] == "generate"]
        locked = lock_errors(stack)
    done = sum(i["state"] == "success" for i in tasks)
    duration = f"{seconds:.0f} s ({seconds / shards:.2f} s per shard)"
    facts: Facts = {
        f"{shards} no-op shards: run": f"{run['state']}, {done} done, {duration}",
        f"{shards} no-op shards: `database is locked`": locked,
    }
    problems = [f"{shards} shards: the run ended as {run['state']}"] if run["state"] != "success" else []
    problems += [f"{shards} shards: {locked} lock errors"] if locked else []
    problems += [f"50 shards took {seconds:.0f} s"] if shards == 50 and seconds > OVERHEAD_LIMIT_S else []
    return facts, problems


def late() -> tuple[Facts, list[str]]:
    """Let a run miss its deadline. Return the measured facts and a list of problems."""
    with running_stack(PROJECT_ROOT / "bench" / "dags", "late") as (stack, api):
        api.trigger("late", {})
        started = time.monotonic()

        def is_logged() -> bool:
            logs = stack.home.rglob("*.log")
            return any("late:   late ·" in path.read_text(errors="replace") for path in logs)

        with contextlib.suppress(TimeoutError):
            wait(is_logged, timeout_s=120)
        seconds = time.monotonic() - started
        logged = is_logged()
    fact = f"logged by the triggerer after {seconds:.0f} s" if logged else "not logged"
    return {"a run past its deadline (1 s)": fact}, [] if logged else ["the callback of the deadline did not run"]


def kill() -> tuple[Facts, list[str]]:
    """Run `finetune_pipeline` on the sample chunks and kill the scheduler twice.

    Return the measured facts and a list of problems.
    """
    dag = "finetune_pipeline"
    with (
        running_simulator(quota={"rpm": 20}, speed=20, latency_s=0.5, defects=0.1) as simulator,
        running_stack(PROJECT_ROOT / "dags", dag) as (stack, api),
    ):
        for name in KEYS:
            api.put_connection(name, {"conn_type": "gemini", "host": simulator.url, "password": f"secret-of-{name}"})
        conf: dict[str, JsonValue] = {
            "keys": list(KEYS),
            "versions": ["v2"],
            "question_limit": 4,
            "training": {"save_steps": 10},
        }
        run_id = api.trigger(dag, conf)
        folder = folder_under(stack.artifacts, dag, run_id)

        wait(lambda: count_answers(folder) >= 60)
        answers_at_kill = count_answers(folder)
        restart_scheduler(stack)
        wait(lambda: count_steps(folder) >= 22)
        step_at_kill = count_steps(folder)
        restart_scheduler(stack)
        wait(lambda: api.run_state(dag, run_id) in ("success", "failed"))

        state, stats = api.run_state(dag, run_id), simulator.stats()
        training = next(i for i in api.task_instances(dag, run_id) if i["task_id"] == "train")
        log = api.log(dag, run_id, "train", training["map_index"], training["try_number"])
        locked = lock_errors(stack)
    resumed = next((line.split(RESUMED)[1] for line in log.splitlines() if RESUMED in line), None)
    facts: Facts = {
        "scheduler killed during generation, after": f"{answers_at_kill} answers",
        "scheduler killed during training, after": f"step {step_at_kill}",
        "run after both kills": f"{state}, training needed {training['try_number']} tries",
        "training resumed from": Path(resumed).name if resumed else "the start",
        "answers requested twice": stats["repeated_answers"],
    }
    problems = [f"kill: the run ended as {state}"] if state != "success" else []
    problems += ["kill: training started again from step 0"] if not resumed else []
    problems += [f"kill: {stats['repeated_answers']} answers requested twice"] if stats["repeated_answers"] else []
    problems += [f"kill: {locked} lock errors"] if locked else []
    return facts, problems


@contextlib.contextmanager
def running_stack(dags: Path, dag_id: str) -> Iterator[tuple[AirflowStack, AirflowApi]]:
    """Inside the `with` block, run a temporary Airflow with the DAGs in the folder `dags`.

    The block starts when Airflow has parsed the DAG `dag_id`.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        stack = AirflowStack(Path(folder) / "home", Path(folder) / "artifacts", dags=dags)
        try:
            stack.start()
            api = AirflowApi(stack.url, "admin", stack.settings["password"])
            set_up_pools(api, keys=len(KEYS), gpus=2)
            api.wait_for_dag(dag_id)
            yield stack, api
        finally:
            stack.stop()


def restart_scheduler(stack: AirflowStack) -> None:
    """Kill the scheduler and all its tasks, then start the scheduler again."""
    stack.kill_component("scheduler")
    time.sleep(2)
    stack.start_component("scheduler")


def count_answers(folder: RunFolder) -> int:
    """Return the number of records in a run's journals."""
    return sum(len(path.read_bytes().splitlines()) for path in folder.journal.rglob("*.jsonl"))


def count_steps(folder: RunFolder) -> int:
    """Return the number of completed training steps."""
    return max((read_json(path)["done"] for path in folder.progress.glob("train*.json")), default=0)


def lock_errors(stack: AirflowStack) -> int:
    """Return how many times SQLite reported a locked database in Airflow's logs."""
    return sum(path.read_text(errors="replace").count("database is locked") for path in stack.home.rglob("*.log"))


def wait(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait until `condition` returns true. Raises TimeoutError after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition did not become true within {timeout_s:.0f} s")
        time.sleep(0.5)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


if __name__ == "__main__":
    raise SystemExit(main())
