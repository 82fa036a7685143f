"""Airflow on SQLite with eight tasks at a time: what many shards cost, and what a killed scheduler costs.

    python bench/orchestration.py                    everything; about twenty minutes on two idle cores
    python bench/orchestration.py --only 50 kill     some of it: a number of no-op shards, late, kill

`50` and `500` run that many no-op shards: the time is Airflow's own. `late` lets a deadline pass. `kill` kills the
scheduler and all its tasks (SIGKILL) in the middle of the generation and again in the middle of a training, starts it
again each time, and looks at what was asked twice and where the training went on. Exits 1 where a limit is missed.
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
from typing import Any

from demo.airflow_stack import PROJECT_ROOT, AirflowStack
from gemini_simulator import running_simulator
from insurance_rag.core.files import read_json
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.airflow_api import AirflowApi
from insurance_rag.orchestration.runs import folder_under
from insurance_rag.orchestration.setup import set_up_pools

OVERHEAD_LIMIT_S = 90
"""For 50 no-op shards in all."""
WAIT_S = 1500
KEYS = ("bench_k1", "bench_k2", "bench_k3")


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


def wide(shards: int) -> tuple[dict[str, Any], list[str]]:
    with running_stack(PROJECT_ROOT / "bench" / "dags", "wide") as (stack, api):
        run_id = api.trigger("wide", {"shards": shards})
        wait(lambda: api.run_state("wide", run_id) in ("success", "failed"))
        run = api.call("GET", f"/dags/wide/dagRuns/{run_id}")
        seconds = (_time(run["end_date"]) - _time(run["start_date"])).total_seconds()
        tasks = [i for i in api.task_instances("wide", run_id) if i["task_id"] == "generate"]
        locked = lock_errors(stack)
    done = sum(i["state"] == "success" for i in tasks)
    pace = f"{seconds:.0f} s ({seconds / shards:.2f} s a shard)"
    facts = {
        f"{shards} no-op shards: run": f"{run['state']}, {done} done, {pace}",
        f"{shards} no-op shards: `database is locked`": locked,
    }
    problems = [f"{shards} shards: run {run['state']}"] if run["state"] != "success" else []
    problems += [f"{shards} shards: {locked} lock errors"] if locked else []
    problems += [f"50 shards took {seconds:.0f} s"] if shards == 50 and seconds > OVERHEAD_LIMIT_S else []
    return facts, problems


def late() -> tuple[dict[str, Any], list[str]]:
    with running_stack(PROJECT_ROOT / "bench" / "dags", "late") as (stack, api):
        api.trigger("late", {})
        started = time.monotonic()
        told = lambda: any("late:   late ·" in p.read_text(errors="replace") for p in stack.home.rglob("*.log"))  # noqa: E731
        with contextlib.suppress(TimeoutError):
            wait(told, timeout_s=120)
        seconds = time.monotonic() - started
        fired = told()
    fact = f"told in the triggerer's log after {seconds:.0f} s" if fired else "not told"
    return {"a run past its deadline (1 s)": fact}, [] if fired else ["the deadline's callback did not run"]


def kill() -> tuple[dict[str, Any], list[str]]:
    """One `finetune_pipeline` on the sample clauses, its scheduler killed twice."""
    options = {"quota": {"rpm": 20}, "speed": 20, "latency_s": 0.5, "defects": 0.1}
    dag = "finetune_pipeline"
    with running_simulator(**options) as simulator, running_stack(PROJECT_ROOT / "dags", dag) as (stack, api):
        for name in KEYS:
            fields = {"conn_type": "gemini", "host": simulator.url, "password": f"secret-of-{name}"}
            api.put_connection(name, fields)
        conf = {"keys": list(KEYS), "versions": ["v2"], "question_limit": 4, "training": {"save_steps": 10}}
        run_id = api.trigger(dag, conf)
        folder = folder_under(stack.artifacts, dag, run_id)

        wait(lambda: answers(folder) >= 60)
        at_kill = answers(folder)
        restart_scheduler(stack)
        wait(lambda: steps(folder) >= 22)
        step_at_kill = steps(folder)
        restart_scheduler(stack)
        wait(lambda: api.run_state(dag, run_id) in ("success", "failed"))

        state, stats = api.run_state(dag, run_id), simulator.stats()
        training = next(i for i in api.task_instances(dag, run_id) if i["task_id"] == "train")
        log = api.log(dag, run_id, "train", training["map_index"], training["try_number"])
        locked = lock_errors(stack)
    resumed = next((line.split("going on from ")[1] for line in log.splitlines() if "going on from " in line), None)
    facts = {
        "scheduler killed during generation, at": f"{at_kill} answers",
        "scheduler killed during training, at": f"step {step_at_kill}",
        "the run": f"{state}, training's try {training['try_number']}",
        "training went on from": Path(resumed).name if resumed else "the start",
        "answers asked for twice": stats["repeated_answers"],
    }
    problems = [f"kill: the run is {state}"] if state != "success" else []
    problems += ["kill: the training began anew"] if not resumed else []
    problems += [f"kill: {stats['repeated_answers']} answers asked twice"] if stats["repeated_answers"] else []
    problems += [f"kill: {locked} lock errors"] if locked else []
    return facts, problems


@contextlib.contextmanager
def running_stack(dags: Path, dag_id: str) -> Iterator[tuple[AirflowStack, AirflowApi]]:
    """An Airflow of its own on those DAGs, gone with its files afterwards."""
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
    stack.kill_component("scheduler")
    time.sleep(2)
    stack.start_component("scheduler")


def answers(folder: RunFolder) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.journal.rglob("*.jsonl"))


def steps(folder: RunFolder) -> int:
    return max((read_json(path)["done"] for path in folder.progress.glob("train*.json")), default=0)


def lock_errors(stack: AirflowStack) -> int:
    return sum(path.read_text(errors="replace").count("database is locked") for path in stack.home.rglob("*.log"))


def wait(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s")
        time.sleep(0.5)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


if __name__ == "__main__":
    raise SystemExit(main())
