"""Prepare a running Airflow for these DAGs: `python -m insurance_rag.orchestration.setup --url URL --user admin`.

Creates or updates the pools. Running the command again changes nothing. The password is read from $AIRFLOW_PASSWORD or
entered at a prompt. Connections are not created: add them in Airflow (Admin > Connections) or in a secrets backend.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys

import httpx

from insurance_rag.core.errors import PipelineError
from insurance_rag.orchestration.airflow_api import AirflowApi


def set_up_pools(api: AirflowApi, keys: int, gpus: int) -> None:
    """Create or update the pools: `gemini` with one slot per API key, `gpu` with one slot per GPU.

    A task that waits for its pod in the triggerer keeps its slot in `gpu`, because the pod still uses a GPU. A task
    that waits for a Gemini batch frees its slot in `gemini`.
    """
    api.put_pool("gemini", keys, "shards that are generated at a time: one slot per API key")
    api.put_pool("gpu", gpus, "GPU jobs that run at a time: one slot per GPU", include_deferred=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m insurance_rag.orchestration.setup", description=__doc__)
    parser.add_argument(
        "--url", default="http://localhost:8080", help="address of the api-server (default %(default)s)"
    )
    parser.add_argument("--user", default="admin", help="user who may edit pools (default %(default)s)")
    parser.add_argument(
        "--keys", type=int, default=7, help="number of slots in the pool `gemini` (default %(default)s)"
    )
    parser.add_argument("--gpus", type=int, default=1, help="number of slots in the pool `gpu` (default %(default)s)")
    args = parser.parse_args(argv)
    password = os.environ.get("AIRFLOW_PASSWORD") or getpass.getpass(f"password for {args.user}: ")
    try:
        set_up_pools(AirflowApi(args.url, args.user, password), args.keys, args.gpus)
    except httpx.HTTPError as e:
        print(f"{args.url} cannot be reached: {e}; check that --url is the api-server's address", file=sys.stderr)
        return 1
    except PipelineError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    print(f"pools: gemini {args.keys}, gpu {args.gpus}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
