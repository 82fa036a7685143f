"""Run the commands of docs/tutorial-own-policy.md on a small policy, and print how long each one takes.

`tools/follow_tutorial.py` starts this in a fresh clone. Ends with an error if a command prints something else than the
page shows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.reader import Shell, read_steps, run_step, write_policy

from demo.airflow_stack import free_port


def main() -> None:
    """Run all commands."""
    with tempfile.TemporaryDirectory(prefix="own-policy-") as work:
        folder = Path(work)
        (folder / "policies").mkdir()
        write_policy(folder / "policies/policy.pdf")
        shell, port = Shell(folder), str(free_port())
        try:
            for step in read_steps():
                for command, seconds in run_step(shell, step, folder, port):
                    print(f"{seconds:8.1f} s  {command}", flush=True)
        finally:
            shell.close()


if __name__ == "__main__":
    main()
