"""Serve a Gemini look-alike with quotas, faults and answers drawn from the clause it is given, until interrupted.

Stands in for Google in the demo and in tests: POST /v1beta/models/MODEL:generateContent with any key. GET /stats tells
what happened, GET /truth which answers are wrong on purpose.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

EXAMPLE = """python -m insurance_rag simulate --port 8787 --rpm 10 --project k1=p1 --project k2=p1 --speed 20 \\
      --faults '{"503": 0.02, "drop": 0.015}' --set latency_s=1.5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--rpm", type=int, help="requests a minute of a project; unlimited without")
    parser.add_argument("--tpm", type=int, help="input tokens a minute of a project")
    parser.add_argument("--rpd", type=int, help="requests a day of a project")
    parser.add_argument("--project", action="append", default=[], metavar="KEY=PROJECT", help="keys that share a quota")
    parser.add_argument("--faults", default="{}", metavar="JSON", help="shares of 503, 500, 502, drop, malformed, ...")
    parser.add_argument("--speed", type=float, default=1.0, help="its minute lasts 60 / SPEED seconds")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any field of SimulatorConfig: window=bucket"
    )
    parser.add_argument("--ready-file", type=Path, help="written with {url} once the port is open")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Returns after an interrupt, with the totals of what was served."""
    from gemini_simulator.config import SimulatorConfig
    from gemini_simulator.server import bind
    from gemini_simulator.stats import summarise
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.files import write_json

    config = SimulatorConfig.parse({**_named(args), **parse_settings(args.set)}, "simulate")
    bound = bind(config)
    print(f"Gemini simulator: {bound.url}  (GEMINI_BASE_URL)", file=sys.stderr, flush=True)
    if args.ready_file:
        write_json(args.ready_file, {"url": bound.url})
    with contextlib.suppress(KeyboardInterrupt):  # the usual end of a server
        bound.run()
    return {name: value for name, value in summarise(bound.service).items() if not isinstance(value, dict)}


def _named(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.core.errors import InvalidInputError

    problems = [f"--project {pair}: want KEY=PROJECT" for pair in args.project if not all(pair.partition("="))]
    try:
        faults = json.loads(args.faults)
    except ValueError as e:
        problems.append(f"--faults: not JSON ({e}); want e.g. '{{\"503\": 0.02}}'")
    if problems:
        raise InvalidInputError(problems)
    return {
        "host": args.host,
        "port": args.port,
        "speed": args.speed,
        "quota": {"rpm": args.rpm, "tpm": args.tpm, "rpd": args.rpd},
        "projects": dict(pair.split("=", 1) for pair in args.project),
        "faults": faults,
    }
