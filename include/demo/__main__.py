"""`make demo`, `make up`, `make down`: an Airflow and a Gemini simulator of one's own, from one command."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from demo.airflow_stack import PROJECT
from demo.services import Services
from demo.walkthrough import DEMO_CONF, follow, print_result
from insurance_rag.core.errors import PipelineError

DAG = "finetune_pipeline"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("action", choices=["demo", "up", "down"])
    parser.add_argument("--home", type=Path, default=PROJECT / "airflow_home", help="database, logs, ports")
    parser.add_argument("--artifacts", type=Path, default=PROJECT / "artifacts", help="run folders")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # `kill` ends a demo as Ctrl-C does: whatever was started is stopped.
    signal.signal(signal.SIGTERM, _interrupt)
    services = Services(args.home.resolve(), args.artifacts.resolve())
    try:
        return {"demo": demo, "up": up, "down": down}[args.action](services)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except PipelineError as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return e.exit_code


def demo(services: Services) -> int:
    """Run the whole path once and print the comparison; non-zero if any task failed."""
    was_running = services.running
    try:
        api = services.start()
        run_id = api.trigger(DAG, DEMO_CONF)
        print(f"{DAG} {run_id}: {services.url}/dags/{DAG}/runs/{run_id}")
        failed = follow(api, DAG, run_id, services.artifacts)
        return print_result(api, DAG, run_id, services.artifacts, failed)
    finally:
        if not was_running:
            print("stopping what was started ...")
            services.stop()


def up(services: Services) -> int:
    services.start()
    print(f"Airflow:  {services.url}\nlogin:    admin / {services.password}\nstop it:  make down")
    return 0


def down(services: Services) -> int:
    services.stop()
    print("stopped")
    return 0


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
