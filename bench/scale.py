"""Measure how the time and the memory of each stage grow, with 10,000, 100,000 and 1,000,000 items.

    python -m bench.scale --out docs/results/scale               all stages; two hours on two cores, 15 GB of disk
    python -m bench.scale --sizes 1000 10000 --only plan parts   other sizes, some of the stages

Every measurement runs in a process of its own. Time is CPU time, which hardly depends on other processes on the
machine. It includes imports and the loading of the morphological analyzer, but not the making of the inputs. Memory is
the peak of the process and its children. The exponent is the slope of the line through the points (log n, log time):
1 is linear, 2 quadratic. A size that is expected to take more than --limit seconds is not measured.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.markdown import markdown_table
from bench.scale_stages import STAGES, Inputs, Stage
from insurance_rag.core.files import atomic_write, write_json
from insurance_rag.core.records import Record

SIZES = (10_000, 100_000, 1_000_000)
LIMIT_S = 900.0
LINEAR = 1.15
"""Largest exponent that counts as linear. Caches that overflow raise the exponent of linear work to about 1.1."""
FIXED_S = 0.2
"""Times below this are mostly fixed costs, so they say nothing about the slope."""


class Point(Record):
    """One measurement."""

    stage: str
    items: int
    cpu_s: float
    wall_s: float
    peak_mib: float


class Slope(Record):
    """How one stage grows."""

    stage: str
    what: str
    unit: str
    points: list[Point]
    exponent: float | None
    """Slope of log(CPU time) over log(items); None if fewer than two points are large enough."""
    kib_per_item: float | None
    """Growth of the peak memory between the smallest and the largest measured size."""


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    if args.measure:
        name, n, folder = args.measure
        print(measure(name, int(n), Path(folder)).model_dump_json())
        return 0
    if args.prepare:
        kind, n, folder = args.prepare
        prepare(kind, Path(folder), int(n))
        return 0
    points = read_points(args.out)
    for n in args.sizes:
        points = run_size(n, {name: STAGES[name] for name in args.only}, points, args)
    print(table(slopes(points)))
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", nargs="+", default=list(STAGES), choices=list(STAGES), metavar="STAGE")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="maximum CPU time of a measurement in seconds")
    parser.add_argument("--out", type=Path, help="path of the results without suffix; earlier points are kept")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="folder for the inputs")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def run_size(n: int, stages: dict[str, Stage], points: list[Point], args: argparse.Namespace) -> list[Point]:
    """Measure the stages with `n` items, write the results after each, and return all points."""
    args.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scale_", dir=args.work) as folder:
        prepared, measured = set[Inputs](), set[str]()
        for name, stage in stages.items():
            expected = expected_s(name, n, points)
            if expected > args.limit:
                print(f"{n:>9,} {name:18} skipped: it would take about {expected:.0f} s", flush=True)
                continue
            if stage.after not in {"", *measured}:
                print(f"{n:>9,} {name:18} skipped: it needs the result of {stage.after}", flush=True)
                continue
            if stage.inputs not in prepared:
                _run("--prepare", stage.inputs, str(n), folder)
                prepared.add(stage.inputs)
            measured.add(name)
            found = Point.model_validate_json(_run("--measure", name, str(n), folder))
            points = [*(p for p in points if (p.stage, p.items) != (name, n)), found]
            print(f"{n:>9,} {name:18} {found.cpu_s:9.3f} s CPU {found.peak_mib:9.0f} MiB", flush=True)
            if args.out:
                write_results(points, args.out)
    return points


def expected_s(name: str, n: int, points: Sequence[Point]) -> float:
    """Return the CPU time that a stage would take according to the smaller sizes; 0 without any."""
    smaller = sorted((p for p in points if p.stage == name and p.items < n), key=lambda p: p.items)
    if not smaller:
        return 0.0
    exponent = fitted_exponent(smaller) or 1.0
    return smaller[-1].cpu_s * (n / smaller[-1].items) ** max(1.0, exponent)


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bench.scale", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr[-3000:]}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


# ---- in a process of its own


def prepare(kind: Inputs, folder: Path, n: int) -> None:
    """Make the inputs of a kind."""
    from bench import scale_inputs

    makers = {
        "run": scale_inputs.make_run,
        "rows": scale_inputs.make_dataset_rows,
        "dataset": scale_inputs.make_dataset,
        "answers": scale_inputs.make_answers,
    }
    makers[kind](folder, n)


def measure(name: str, n: int, folder: Path) -> Point:
    """Run a stage and measure it. If it returns a function, only this function is measured."""
    from bench.dataset import cpu_seconds, timed

    stage, results = STAGES[name], list[object]()
    before = cpu_seconds()
    figures = timed(lambda: results.append(stage.work(folder, n)))
    if callable(results[0]):
        before = cpu_seconds()
        figures = timed(results[0])
    own_peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Point(
        stage=name,
        items=n,
        cpu_s=round((figures["cpu_s"] - before) / stage.times, 5),
        wall_s=round(figures["seconds"] / stage.times, 5),
        peak_mib=round(1024 * max(own_peak_gib, figures["gib"]), 1),
    )


# ---- results


def fitted_exponent(points: Sequence[Point]) -> float | None:
    """Return the slope of the least-squares line through (log items, log CPU time); None for fewer than two points."""
    largest = max(points, key=lambda p: p.items).cpu_s if points else 0.0
    used = [p for p in points if p.cpu_s >= min(FIXED_S, largest / 20)]
    if len(used) < 2:
        return None
    x, y = [math.log(p.items) for p in used], [math.log(p.cpu_s) for p in used]
    return statistics.linear_regression(x, y).slope


def slopes(points: Sequence[Point]) -> list[Slope]:
    """Return how each measured stage grows."""
    found = []
    for name, stage in STAGES.items():
        own = sorted((p for p in points if p.stage == name), key=lambda p: p.items)
        if not own:
            continue
        exponent, growth = fitted_exponent(own), None
        if len(own) > 1:
            growth = 1024 * (own[-1].peak_mib - own[0].peak_mib) / (own[-1].items - own[0].items)
        found.append(
            Slope(
                stage=name,
                what=stage.what,
                unit=stage.unit,
                points=own,
                exponent=None if exponent is None else round(exponent, 2),
                kib_per_item=None if growth is None else round(growth, 3),
            )
        )
    return found


def table(found: Sequence[Slope]) -> str:
    """Return the table of the results as Markdown."""
    sizes = sorted({p.items for slope in found for p in slope.points})
    head = ["stage", "items", *(f"{n:,}" for n in sizes), "exponent", "memory"]
    rows = []
    for slope in found:
        of_size = {p.items: p for p in slope.points}
        cells = [f"{_time(of_size[n].cpu_s)}, {of_size[n].peak_mib:,.0f} MiB" if n in of_size else "-" for n in sizes]
        exponent = "-" if slope.exponent is None else f"{slope.exponent:.2f}"
        if slope.exponent is not None and slope.exponent > LINEAR:
            exponent = f"**{exponent}**"
        memory = "-" if slope.kib_per_item is None else f"{max(0.0, slope.kib_per_item):.2f} KiB/item"
        rows.append([f"{slope.what} (`{slope.stage}`)", slope.unit, *cells, exponent, memory])
    return "\n".join(markdown_table(head, rows))


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{seconds:.1f} s"


def read_points(out: Path | None) -> list[Point]:
    """Return the points of earlier measurements."""
    if out is None or not out.with_suffix(".json").exists():
        return []
    content = json.loads(out.with_suffix(".json").read_bytes())
    return [Point.model_validate(point) for slope in content for point in slope["points"] if slope["stage"] in STAGES]


def write_results(points: Sequence[Point], out: Path) -> None:
    """Write the results as JSON and as Markdown."""
    found = slopes(points)
    write_json(out.with_suffix(".json"), [slope.model_dump(mode="json") for slope in found])
    with atomic_write(out.with_suffix(".md")) as f:
        f.write(
            f"# Scale\n\nWritten by `python -m bench.scale` on {time.strftime('%Y-%m-%d')}; some measurements may be "
            "earlier. Every cell has the CPU time and the\n"
        )
        f.write("peak memory of a process of its own.\n[docs/scale.md](../scale.md) says what follows.\n\n")
        f.write(table(found))


if __name__ == "__main__":
    sys.exit(main())
