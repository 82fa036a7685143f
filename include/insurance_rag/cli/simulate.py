"""Serve the Gemini simulator until interrupted. It enforces quotas, injects faults and answers with QA pairs.

To use the simulator, set GEMINI_BASE_URL to its address; it accepts any API key. GET /stats reports the requests
received. GET /ground_truth lists every pair that was sent, with the defect (if any) that was injected into the pair.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

EXAMPLE = """python -m insurance_rag simulate --port 8787 --rpm 10 --project k1=p1 --project k2=p1 --speed 20 \\
      --faults '{"503": 0.02, "drop": 0.015}' --set latency_s=1.5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: 0, any free port)")
    parser.add_argument("--rpm", type=int, help="requests per minute for each project (default: unlimited)")
    parser.add_argument("--tpm", type=int, help="input tokens per minute for each project (default: unlimited)")
    parser.add_argument("--rpd", type=int, help="requests per day for each project (default: unlimited)")
    parser.add_argument(
        "--project", action="append", default=[], metavar="KEY=PROJECT", help="assign a key to a project; repeatable"
    )
    parser.add_argument(
        "--faults",
        default="{}",
        metavar="JSON",
        help="JSON object with the rate of each fault: 503, 500, 502, drop, malformed, ...",
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="simulated seconds per real second; a simulated minute lasts 60 / SPEED seconds",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of SimulatorConfig, e.g. window=bucket",
    )
    parser.add_argument("--ready-file", type=Path, help='file to write {"url": ...} to when the port is open')


def run(args: argparse.Namespace) -> dict[str, object]:
    """Serve until interrupted, then return statistics on the requests received."""
    from gemini_simulator.config import SimulatorConfig
    from gemini_simulator.server import bind
    from gemini_simulator.stats import summarize_requests
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.files import write_json

    config = SimulatorConfig.parse({**_settings(args), **parse_settings(args.set)}, "simulate")
    bound = bind(config)
    print(f"Gemini simulator: {bound.url}  (GEMINI_BASE_URL)", file=sys.stderr, flush=True)
    if args.ready_file:
        write_json(args.ready_file, {"url": bound.url})
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the normal way to stop the server
        bound.run()
    return {name: value for name, value in summarize_requests(bound.service).items() if not isinstance(value, dict)}


def _settings(args: argparse.Namespace) -> dict[str, object]:
    """Return the settings given by options other than --set. Raises InvalidInputError if an option is malformed."""
    from insurance_rag.core.errors import InvalidInputError

    problems = [
        f"--project {pair}: not of the form KEY=PROJECT; e.g. k1=p1"
        for pair in args.project
        if not all(pair.partition("="))
    ]
    try:
        faults = json.loads(args.faults)
    except ValueError as e:
        problems.append(f"--faults: not JSON ({e}); write it like '{{\"503\": 0.02}}'")
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
