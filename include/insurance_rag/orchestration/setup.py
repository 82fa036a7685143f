"""Set up any running Airflow for these DAGs: `python -m insurance_rag.orchestration.setup --url URL --user admin`.

Makes the pools; the same command again changes nothing. The password is that of $AIRFLOW_PASSWORD, or asked for.
Connections are made by people (Admin > Connections) or a secrets backend.
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
    """One slot a key and one a card. A pod that is waited for in the triggerer still holds its card, a batch no key."""
    api.put_pool("gemini", keys, "one slot a shard: as many as there are keys")
    api.put_pool("gpu", gpus, "GPU jobs at a time: as many as there are cards", include_deferred=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m insurance_rag.orchestration.setup", description=__doc__)
    parser.add_argument("--url", default="http://localhost:8080", help="of the api-server (default %(default)s)")
    parser.add_argument("--user", default="admin", help="may edit pools (default %(default)s); asks for the password")
    parser.add_argument("--keys", type=int, default=7, help="slots of the pool gemini (default %(default)s)")
    parser.add_argument("--gpus", type=int, default=1, help="slots of the pool gpu (default %(default)s)")
    args = parser.parse_args(argv)
    password = os.environ.get("AIRFLOW_PASSWORD") or getpass.getpass(f"password of {args.user}: ")
    try:
        set_up_pools(AirflowApi(args.url, args.user, password), args.keys, args.gpus)
    except httpx.HTTPError as e:
        print(f"{args.url} cannot be reached: {e}; is --url the api-server's?", file=sys.stderr)
        return 1
    except PipelineError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    print(f"pools: gemini {args.keys}, gpu {args.gpus}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
