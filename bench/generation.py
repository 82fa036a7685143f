"""How fast generation is against its quota, what it loses, and how it compares: `make bench-generation`.

    python bench/generation.py [--speed 2] [--lanes 8] [--only NAME ...] [--out docs/results/generation]

Runs the real client against the simulator, whose clock runs `speed` times as fast; all figures are in its seconds.
Exits with 1 where a limit is missed. The other clients do the same work: the source's algorithm (SPEC section 4) and
Google's own google-genai with its retries. Run it on a quiet machine: what delays a call by 20 ms here delays it by
20 ms times the speed there.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from generation_scenarios import ALONE, PACED, Bench, Scenario, ratio

from insurance_rag.core.files import write_json

SCENARIOS: dict[str, Scenario] = {scenario.__name__: scenario for scenario in (*PACED, *ALONE)}
#: Begun first.
LONG = ("killed", "source", "official", "speeds", "windows")


def report(bench: Bench) -> str:
    runs = {name: f for name, f in bench.figures.items() if "calls" in f}
    return "\n".join(
        [
            "# Generation against the simulator",
            "",
            f"`python bench/generation.py --speed {bench.speed:g}` on {time.strftime('%Y-%m-%d')}, Python "
            f"{platform.python_version()}, {os.cpu_count()} cores. Seconds are of the simulator's clock; latency "
            "1.5 s, a rolling minute, 7 keys that are projects of their own, unless said otherwise.",
            "",
            "| scenario | what | measured | at most | |",
            "|---|---|---:|---:|---|",
            *(
                f"| {c.scenario} | {c.what} | {c.value} | {c.limit} | {'ok' if c.passed else '**missed**'} |"
                for c in bench.checks
            ),
            "",
            "## Beside other clients, the same work",
            "",
            *comparison(bench),
            "",
            "## All runs",
            "",
            "| run | seconds | 429s | calls | lacking | rows twice | asked again | MB a worker |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
            *(row(name, [f[k] for k in RUN_COLUMNS]) for name, f in runs.items()),
            "",
            "What `day over` lacks is named and waits for the next day. Calls that were in flight at a kill -9 are "
            "asked again; no row comes of it twice. 429s at a window's edge come from delays of this machine, which a "
            "faster clock magnifies: see `narrow` at three speeds.",
            "",
        ]
    )


RUN_COLUMNS = ("seconds", "refused_429", "calls", "lost", "twice", "repeats", "mb")


def row(name: str, cells: list[object]) -> str:
    return f"| {name} | " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"


def comparison(bench: Bench) -> list[str]:
    """The other clients against ours of the same run, faults with faults."""
    lines = [
        "| client | seconds | / ours | calls / ours | 429s | ours | lost | ours | MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, f in bench.figures.items():
        ours = bench.figures.get("faults" if "faults" in name else "narrow")
        if ours and name.startswith(("source", "google-genai")):
            pace = [f["seconds"], ratio(f["seconds"], ours["seconds"]), ratio(f["calls"], ours["calls"])]
            refused = [f["refused_429"], ours["refused_429"], f["lost"], ours["lost"], f["mb"]]
            lines.append(row(name, [*pace, *refused]))
    return [*lines, "", "Seconds of a run with losses do not compare: it ended early."]


def run_scenarios(speed: float, work: Path, names: list[str], lanes: int) -> Bench:
    """The paced ones side by side in `lanes`, begun apart so that their windows are; then the others alone."""

    def run(scenario: Scenario) -> Bench:
        print(f"{scenario.__name__}: {(scenario.__doc__ or '').strip()}\n", end="", flush=True)
        bench = Bench(speed, work)
        scenario(bench)
        return bench

    with ThreadPoolExecutor(lanes) as pool:
        paced = [scenario.__name__ for scenario in PACED if scenario.__name__ in names]
        started = {}
        for name in sorted(paced, key=lambda name: name not in LONG):
            started[name] = pool.submit(run, SCENARIOS[name])
            time.sleep(min(60 / speed / lanes, 5))
        finished = {name: future.result() for name, future in started.items()}
    finished |= {s.__name__: run(s) for s in ALONE if s.__name__ in names}
    whole = Bench(speed, work)
    for name in SCENARIOS:
        if name in finished:
            whole.figures |= finished[name].figures
            whole.checks += finished[name].checks
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=float, default=2.0, help="how fast the simulator's clock runs")
    parser.add_argument("--lanes", type=int, default=8, help="scenarios that run side by side")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--out", type=Path, help="written as OUT.md and OUT.json")
    parser.add_argument("--work", type=Path, help="new folder that keeps the run folders, to look into")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-generation-") as folder:
        bench = run_scenarios(args.speed, args.work or Path(folder), args.only, args.lanes)
    text = report(bench)
    print("\n" + text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".md").write_text(text, encoding="utf-8")
        checks = [{**vars(check), "passed": check.passed} for check in bench.checks]
        write_json(args.out.with_suffix(".json"), {"speed": args.speed, "checks": checks, "figures": bench.figures})
    missed = [check for check in bench.checks if not check.passed]
    for check in missed:
        print(f"missed: {check.scenario}: {check.what}: {check.value} > {check.limit}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
