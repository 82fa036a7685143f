"""Fuzz every parser of outside data for some time, e.g. `python -m tests.fuzz --seconds 600 --seed 7 --only ingest`."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import traceback

from tests.fuzz.harness import fuzz_for
from tests.fuzz.targets import targets

MAX_LINES = 60


def main() -> int:
    """Run the targets, print what each found, and return 1 if any input broke a parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="time per target (default: 20)")
    parser.add_argument("--seed", type=int, default=None, help="seed of the inputs (default: random)")
    parser.add_argument("--only", default="", help="run only the targets whose names contain this text")
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    seed = random.randrange(2**31) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    failed = 0
    for target in targets():
        if args.only not in target.name:
            continue
        try:
            print(f"{target.name}: {fuzz_for(target, args.seconds, seed):,} inputs, no fault", flush=True)
        except Exception:  # noqa: BLE001 - any exception is a finding
            failed += 1
            lines = [line[:300] for line in traceback.format_exc().splitlines() if "hypothesis" not in line]
            print(f"{target.name}: FAULT", *lines[-MAX_LINES:], sep="\n", flush=True)
    print(f"{failed} targets with a fault")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
