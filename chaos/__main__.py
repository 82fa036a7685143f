"""Run campaigns with consecutive seeds: `python -m chaos --seed 1 --runs 20`. Exits with 1 if an invariant is broken.

`--runs 1` repeats the campaign of one seed. The schedule of faults is the same each time; how the processes interleave
is not.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DEFAULT_FOLDER = Path(tempfile.gettempdir()) / "insurance_rag_chaos"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    from chaos.menu import KINDS

    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first campaign")
    parser.add_argument("--runs", type=int, default=20, help="number of campaigns")
    parser.add_argument(
        "--pipeline", action="store_true", help="run all stages with tiny settings, not only `generate`"
    )
    parser.add_argument("--only", choices=[kind.name for kind in KINDS], help="use only this fault")
    parser.add_argument("--out", type=Path, help="folder to add the results to, e.g. docs/results/chaos")
    parser.add_argument("--page", type=Path, help="page whose table is replaced, e.g. docs/reliability.md; needs --out")
    parser.add_argument("--work", type=Path, default=DEFAULT_FOLDER, help="folder for the run folders (%(default)s)")
    parser.add_argument(
        "--keep", action="store_true", help="keep the folders of all campaigns, not only of failed ones"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaigns, print one line for each, and write the report. Return 1 if an invariant is broken."""
    args = parse_arguments(argv)
    from chaos.menu import KINDS, possible_kinds
    from chaos.outcome import Outcome
    from chaos.results import failure_text, report, success_line, write_results
    from chaos.runner import run_scenario
    from chaos.scenario import draw_scenario
    from chaos.tiny_model import tiny_base_model

    for kind in KINDS:
        if obstacle := kind.obstacle():
            print(f"skipped: {kind.name}: {obstacle}", flush=True)
    kinds = [kind for kind in possible_kinds() if args.only in (None, kind.name)]
    if not kinds:
        return 2
    late_kinds = [kind.name for kind in possible_kinds() if kind.late]
    options = "".join([" --pipeline" if args.pipeline else "", f" --only '{args.only}'" if args.only else ""])
    base_model = tiny_base_model(args.work / "base_model") if args.pipeline else None
    outcomes: list[Outcome] = []
    for seed in range(args.seed, args.seed + args.runs):
        scenario = draw_scenario(seed, [kind.name for kind in kinds], late_kinds, args.pipeline)
        folder = args.work / f"{'pipeline' if args.pipeline else 'seed'}_{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        outcome = run_scenario(scenario, folder, base_model)
        outcomes.append(outcome)
        if args.out:
            write_results([outcome], args.out, "pipeline" if args.pipeline else "generation", options, args.page)
        if outcome.violations:
            print(failure_text(outcome, folder, f"python -m chaos --seed {seed} --runs 1{options}"), flush=True)
        else:
            print(success_line(outcome), flush=True)
            if not args.keep:
                shutil.rmtree(folder, ignore_errors=True)
    print(report(outcomes, options))
    return 1 if any(outcome.violations for outcome in outcomes) else 0


if __name__ == "__main__":
    logging.getLogger("insurance_rag").setLevel(logging.ERROR)  # damaged lines are expected
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end the processes and unmount, as after Ctrl-C
    sys.exit(main())
