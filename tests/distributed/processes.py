"""Runs processes like a container engine: restarts those that end, and can kill one with all its child processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

RESTART_DELAY_S = 2.0
"""Delay before a process is started again, whether it ended or was killed."""
STOP_TIMEOUT_S = 15.0


@dataclass
class _Service:
    argv: Sequence[str]
    env: Mapping[str, str]
    process: subprocess.Popen[bytes]


class ProcessSet:
    """Processes with names. Each has its own process group and log file, and is restarted when it ends."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._services: dict[str, _Service] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.restarts: Counter[str] = Counter()
        """How often each process was started again."""
        logs.mkdir(parents=True, exist_ok=True)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a process."""
        with self._lock:
            self._services[name] = _Service(argv, env, self._popen(name, argv, env))

    def change(self, name: str, env: Mapping[str, str]) -> None:
        """Set environment variables of a process, from its next start on."""
        with self._lock:
            service = self._services[name]
            service.env = {**service.env, **env}

    def kill(self, name: str) -> list[str]:
        """Kill a process and all its descendants with SIGKILL, like a machine that loses power.

        They are stopped first, so that none of them can react to the end of another. Returns their command lines.
        """
        found = _tree(self._services[name].process.pid)
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            _signal(found, signal_number)
            if signal_number == signal.SIGSTOP:
                found = list({p.pid: p for p in [*found, *_tree(self._services[name].process.pid)]}.values())
                commands = [_command(process) for process in found]
        return commands

    def stop(self) -> None:
        """Stop all processes with SIGTERM, then SIGKILL, including all their descendants."""
        self._stopping.set()
        self._watcher.join()
        found = [process for service in self._services.values() for process in _tree(service.process.pid)]
        _signal(found, signal.SIGTERM)
        _, alive = psutil.wait_procs(found, timeout=STOP_TIMEOUT_S)
        _signal(alive, signal.SIGKILL)
        for service in self._services.values():
            service.process.wait()

    def _watch(self) -> None:
        while not self._stopping.wait(0.5):
            with self._lock:
                ended = [name for name, service in self._services.items() if service.process.poll() is not None]
            if not ended or self._stopping.wait(RESTART_DELAY_S):
                continue
            for name in ended:
                self.restarts[name] += 1
                service = self._services[name]
                self.start(name, service.argv, service.env)

    def _popen(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("ab") as log:
            log.write(f"--- started at {time.strftime('%H:%M:%S')}\n".encode())
            return subprocess.Popen(
                argv, env={**os.environ, **env}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to the processes that still exist."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; empty if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
