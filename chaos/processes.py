"""The processes of a campaign: the real commands, with everything that they print kept in files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Linux capabilities that let root ignore the permissions of files. Without them, a folder can be read-only for root.
_OVERRIDES = "-dac_override,-dac_read_search"


@dataclass(frozen=True)
class Command:
    """A command of the pipeline, e.g. `generate --run RUN --shard 2`."""

    stage: str
    arguments: tuple[str, ...]
    shard: int | None = None
    """Shard that the command works on; None if it works on the whole run."""


@dataclass(frozen=True)
class ProcessExit:
    """How a process ended."""

    stage: str
    arguments: tuple[str, ...]
    shard: int | None
    code: int
    """Exit code; the negative number of the signal if a signal ended the process."""
    signals: tuple[int, ...]
    """Signals that the campaign sent to the process."""
    errors: str
    """Content of stderr."""
    complete: bool
    """Whether the work of the command was complete when the process ended."""
    may_reject_input: bool
    """Whether a fault explains exit code 2: an edited plan."""


@dataclass
class RunningProcess:
    """A process that has been started."""

    command: Command
    process: subprocess.Popen[bytes]
    errors: Path
    output: Path
    signals: list[int] = field(default_factory=list)

    def send(self, number: int) -> None:
        """Send a signal to the process, if it still runs, and remember the signal."""
        self.signals.append(number)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class ProcessGroup:
    """Starts commands and keeps what they print."""

    def __init__(self, logs: Path, environment: Mapping[str, str], permissions_count: bool) -> None:
        """Prepare to write logs to `logs`. `permissions_count` starts commands so that root obeys file permissions."""
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self._prefix = ["setpriv", f"--bounding-set={_OVERRIDES}"] if permissions_count and os.geteuid() == 0 else []
        self._started = 0
        self.running: list[RunningProcess] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, commands: Sequence[Command]) -> None:
        """Start commands, which run at the same time."""
        for command in commands:
            self._started += 1
            name = f"{self._started:03}_{command.stage}"
            errors, output = self._logs / f"{name}.err", self._logs / f"{name}.out"
            argv = [*self._prefix, sys.executable, "-m", "insurance_rag", command.stage, *command.arguments, "--json"]
            with errors.open("wb") as err, output.open("wb") as out:
                process = subprocess.Popen(
                    argv, env=self._environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=self._logs,
                    start_new_session=True,
                )  # fmt: skip
            self.running.append(RunningProcess(command, process, errors, output))

    def alive(self) -> list[RunningProcess]:
        """Return the processes that still run."""
        return [process for process in self.running if process.process.poll() is None]

    def take_ended(self) -> list[RunningProcess]:
        """Return the processes that have ended since the last call."""
        ended = [process for process in self.running if process.process.poll() is not None]
        self.running = [process for process in self.running if process not in ended]
        return ended

    def kill_all(self) -> None:
        """Send SIGKILL to all processes and their children, and wait until they have ended."""
        for process in self.alive():
            process.send(signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.process.pid, signal.SIGKILL)
            process.process.wait()
