"""Follow the tutorials as a stranger does, in a fresh clone with empty caches, and time every command.

    python3 tools/follow_tutorial.py                  docs/tutorial-first-run.md, then docs/tutorial-own-policy.md
    python3 tools/follow_tutorial.py --without-demo   leave out the first page, which runs the whole demo twice

`make tutorial` runs the first command. The clone has what is committed; changes that are not are left out. Nothing that
was downloaded or built before is used: HOME and the caches of pip, uv and Hugging Face are new folders in the temporary
folder, which needs about 8 GB. Exits with 1 if a command fails. Needs Python 3.11+, make and git, and no packages.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST_RUN = "docs/tutorial-first-run.md"
CACHES = {"XDG_CACHE_HOME": "cache", "UV_CACHE_DIR": "cache/uv", "PIP_CACHE_DIR": "cache/pip", "HF_HOME": "cache/hf"}
FORGOTTEN = re.compile(r"VIRTUAL_ENV|PYTHON|AIRFLOW|GPU_|HF_|UV_(?!INDEX|DEFAULT_INDEX|FIND_LINKS)|MAKE|MFLAGS|XDG_")
"""Beginnings of the environment variables that a stranger does not have, besides those that the project reads."""


@dataclass(frozen=True)
class Timing:
    """A command that was run."""

    command: str
    seconds: float
    exit_code: int


def strangers_environment(home: Path) -> dict[str, str]:
    """Return this process's environment without the project's settings, and with empty caches below `home`."""
    sys.path.insert(0, str(ROOT / "include"))  # the table needs no packages
    from insurance_rag.core.environment import variables

    settings = variables()
    kept = {name: value for name, value in os.environ.items() if name not in settings and not FORGOTTEN.match(name)}
    return {**kept, "HOME": str(home), **{name: str(home / path) for name, path in CACHES.items()}}


def first_run_commands(page: Path) -> Iterator[str]:
    """Yield the `make` commands of a page, in their order, without comments."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"    (make [\w-]+)", line):
            yield match[1]


def follow(clone: Path, home: Path, *, without_demo: bool) -> Iterator[Timing]:
    """Run the commands of both tutorials. Stop after the first one that fails."""
    environment = strangers_environment(home)

    def run(command: Sequence[str], folder: Path = clone) -> Timing:
        print(f"--- {' '.join(command)}", flush=True)
        started = time.monotonic()
        done = subprocess.run(command, cwd=folder, env=environment)
        return Timing(" ".join(command), time.monotonic() - started, done.returncode)

    steps = [["make", "env"]]
    steps += [] if without_demo else [command.split() for command in first_run_commands(clone / FIRST_RUN)]
    if (clone / "tools/tutorial_commands.py").is_file():
        steps.append([str(clone / ".venv/bin/python"), "-m", "tools.tutorial_commands"])
    for step in steps:
        timing = run(step)
        yield timing
        if timing.exit_code:
            subprocess.run(["make", "down"], cwd=clone, env=environment, capture_output=True)  # what `make up` started
            return


def main(argv: list[str] | None = None) -> int:
    """Follow the tutorials, print the times, and return 0 if every command succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", default=str(ROOT), help="repository to clone (default: this one)")
    parser.add_argument("--without-demo", action="store_true", help="only the page about an own policy")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tutorial-", ignore_cleanup_errors=True) as work:
        clone, home = Path(work) / "clone", Path(work) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", args.repository, str(clone)], check=True)
        timings = list(follow(clone, home, without_demo=args.without_demo))
    for timing in timings:
        outcome = "" if timing.exit_code == 0 else f"  failed with exit code {timing.exit_code}"
        print(f"{timing.seconds:8.1f} s  {timing.command}{outcome}")
    print(f"{sum(timing.seconds for timing in timings):8.1f} s  in total")
    return 1 if any(timing.exit_code for timing in timings) else 0


if __name__ == "__main__":
    sys.exit(main())
