"""Measure whether generation is as fast as the quota allows, whether it loses chunks, and how other clients compare.

    python -m bench.generation [--speed 2] [--parallel 8] [--only NAME ...] [--out docs/results/generation]

`make bench-generation` runs all scenarios. They run the pipeline's client against the simulator. The simulator's clock
runs `speed` times as fast as real time, and all reported times are in seconds of this clock. Two other clients do the
same work for comparison: the algorithm of the reference design (docs/origin.md) and Google's google-genai with its
retries. Exits with 1 if a limit is exceeded. Run the benchmark on an idle machine, because one second of real delay is
reported as `speed` seconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from bench.generation_harness import RunFigures
from bench.generation_packing import PACKING
from bench.generation_scenarios import MACHINE_BOUND, RATE_LIMITED, Bench, Scenario, ratio
from insurance_rag.core.files import write_json

SCENARIOS: dict[str, Scenario] = {scenario.__name__: scenario for scenario in (*RATE_LIMITED, *PACKING, *MACHINE_BOUND)}
LONGEST = ("killed", "reference_client", "google_genai_client", "clock_speeds", "other_windows")
"""The longest scenarios. They start before all others."""


def report(bench: Bench) -> str:
    """Return the report on all runs as Markdown."""
    return "\n".join(
        [
            "# Generation against the simulator",
            "",
            f"`python -m bench.generation --speed {bench.speed:g}` on {time.strftime('%Y-%m-%d')}, Python "
            f"{platform.python_version()}, {os.cpu_count()} cores. Seconds are those of the simulator's clock. Unless "
            "stated otherwise: a latency of 1.5 s, a rolling minute, 7 keys in 7 projects.",
            "",
            "| scenario | figure | measured | limit | |",
            "|---|---|---:|---:|---|",
            *(
                f"| {c.scenario} | {c.figure} | {c.value} | {c.limit} | {'ok' if c.passed else '**exceeded**'} |"
                for c in bench.checks
            ),
            "",
            "## Other clients with the same work",
            "",
            *comparison(bench),
            "",
            "## All runs",
            "",
            "| run | seconds | 429s | calls | lost chunks | duplicate rows | repeated calls | MB per worker |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *(table_row(name, run_cells(f)) for name, f in bench.figures.items()),
            "",
            "The error that `daily_quota` ends with lists the lost chunks, which wait for the next day. Calls in "
            "flight at a kill -9 are repeated, without duplicate rows. Delays on this machine cause 429s at the edge "
            "of a window, and a faster clock magnifies these delays: see `unknown_quota` at three speeds.",
            "",
            "A token limit is used in whole calls. If the rest of a window is too small for another call, the last "
            "chunks wait for the next window, which costs up to a minute: see `packed_tokens` with 1,800 chunks and "
            "with repairs.",
            "",
        ]
    )


def run_cells(f: RunFigures) -> list[object]:
    """Return the cells for one run in the table of all runs, without its name."""
    return [
        f.seconds,
        f.refused_429,
        f.calls,
        f.lost_chunks,
        f.duplicate_rows,
        f.repeated_calls,
        f.mb_per_worker,
    ]


def table_row(name: str, cells: Sequence[object]) -> str:
    """Return a table row; None becomes an empty cell."""
    return f"| {name} | " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"


def comparison(bench: Bench) -> list[str]:
    """Return the lines of a table that compares the other clients with this pipeline.

    Runs with faults are compared with the scenario `faults`, runs with several chunks per call with `packed_calls`, the
    others with `unknown_quota`.
    """
    lines = [
        "| client | seconds | / pipeline | calls / pipeline | 429s | pipeline | lost chunks | pipeline | MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, f in bench.figures.items():
        own = bench.figures.get(own_scenario(name))
        if own and name.startswith(("reference", "google-genai")):
            speed = [f.seconds, ratio(f.seconds, own.seconds), ratio(f.calls, own.calls)]
            losses = [f.refused_429, own.refused_429, f.lost_chunks, own.lost_chunks, f.mb_per_worker]
            lines.append(table_row(name, [*speed, *losses]))
    return [
        *lines,
        "",
        "The seconds of a run with lost chunks cannot be compared, because that run ended early. The pipeline's runs "
        "in this table send one chunk per call, like the other clients, except in the row with 8 chunks per call. "
        "Neither the reference design nor google-genai packs chunks. Their users could write it themselves: a prompt "
        "for several chunks, the matching of answers with chunks, another request for what is missing, repairs, and a "
        "size that depends on the quality. The row with 8 chunks per call shows google-genai with this pipeline's "
        "prompt and matching, but without the rest.",
    ]


def own_scenario(name: str) -> str:
    """Return the scenario of this pipeline that a run of another client is compared with."""
    if "per call" in name:
        return "packed_calls"
    return "faults" if "faults" in name else "unknown_quota"


def run_scenarios(speed: float, work: Path, names: Sequence[str], parallel: int) -> Bench:
    """Run the rate-limited scenarios in parallel, then the machine-bound ones one after another.

    The starts of the parallel scenarios are staggered, so that their quota windows do not end at the same time.
    """

    def run(scenario: Scenario) -> Bench:
        print(f"{scenario.__name__}: {(scenario.__doc__ or '').strip()}\n", end="", flush=True)
        bench = Bench(speed, work)
        scenario(bench)
        return bench

    with ThreadPoolExecutor(parallel) as pool:
        chosen = [scenario.__name__ for scenario in (*RATE_LIMITED, *PACKING) if scenario.__name__ in names]
        started = {}
        for name in sorted(chosen, key=lambda name: name not in LONGEST):
            started[name] = pool.submit(run, SCENARIOS[name])
            time.sleep(min(60 / speed / parallel, 5))
        finished = {name: future.result() for name, future in started.items()}
    finished |= {s.__name__: run(s) for s in MACHINE_BOUND if s.__name__ in names}
    whole = Bench(speed, work)
    for name in SCENARIOS:
        if name in finished:
            whole.figures |= finished[name].figures
            whole.checks += finished[name].checks
    return whole


def main() -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=float, default=2.0, help="simulated seconds per real second")
    parser.add_argument("--parallel", type=int, default=8, help="number of scenarios that run in parallel")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--out", type=Path, help="path without a suffix; results are written to OUT.md and OUT.json")
    parser.add_argument("--work", type=Path, help="new folder to keep the run folders in; default: a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-generation-") as folder:
        bench = run_scenarios(args.speed, args.work or Path(folder), args.only, args.parallel)
    text = report(bench)
    print("\n" + text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".md").write_text(text, encoding="utf-8")
        checks = [{**asdict(check), "passed": check.passed} for check in bench.checks]
        figures = {name: asdict(f) for name, f in bench.figures.items()}
        write_json(args.out.with_suffix(".json"), {"speed": args.speed, "checks": checks, "figures": figures})
    exceeded = [check for check in bench.checks if not check.passed]
    for check in exceeded:
        print(f"exceeded: {check.scenario}: {check.figure}: {check.value} > {check.limit}", file=sys.stderr)
    return 1 if exceeded else 0


if __name__ == "__main__":
    raise SystemExit(main())
