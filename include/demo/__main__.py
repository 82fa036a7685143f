"""Run the demo on this machine, with an embedded Airflow and a Gemini simulator.

python -m demo run    run the whole pipeline once and compare the models (make demo)
python -m demo up     start Airflow and leave it running for the browser (make up)
python -m demo down   stop what `up` started (make down)
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from demo.airflow_stack import PROJECT_ROOT
from demo.config import DEMO_RUN
from demo.services import Services
from demo.walkthrough import follow, print_result
from insurance_rag.core.errors import PipelineError

DAG = "finetune_pipeline"


def main() -> int:
    """Run the requested action and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=list(ACTIONS), help="action to perform")
    parser.add_argument(
        "--home",
        type=Path,
        default=PROJECT_ROOT / "airflow_home",
        help="folder for Airflow's database, logs and settings (default: %(default)s)",
    )
    parser.add_argument(
        "--artifacts",
        type=Path,
        default=PROJECT_ROOT / "artifacts",
        help="folder that contains the run folders (default: %(default)s)",
    )
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Treat SIGTERM like Ctrl-C, so that `run` stops Airflow and the simulator before it exits.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return ACTIONS[args.action](Services(args.home.resolve(), args.artifacts.resolve()))
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except PipelineError as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return e.exit_code


def run(services: Services) -> int:
    """Run the pipeline once and print the result. Return 1 if a task failed, else 0."""
    was_running = services.running
    try:
        api = services.start()
        run_id = api.trigger(DAG, DEMO_RUN)
        print(f"Run {run_id} started. Watch it at {services.url}/dags/{DAG}/runs/{run_id}")
        print(f"Login: admin / {services.password}", flush=True)
        failed = follow(api, DAG, run_id, services.artifacts)
        return print_result(api, DAG, run_id, services.artifacts, failed)
    finally:
        if not was_running:
            print("Stopping Airflow and the simulator ...", flush=True)
            services.stop()


def up(services: Services) -> int:
    """Start Airflow and the simulator, and print Airflow's URL and login."""
    services.start()
    print(f"Airflow:  {services.url}\nLogin:    admin / {services.password}\nTo stop:  make down")
    return 0


def down(services: Services) -> int:
    """Stop Airflow and the simulator."""
    was_running = services.running
    services.stop()
    print("Stopped." if was_running else "Nothing was running.")
    return 0


ACTIONS: dict[str, Callable[[Services], int]] = {"run": run, "up": up, "down": down}


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
