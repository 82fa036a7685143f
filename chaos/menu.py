"""The menu of faults: what each one is called, what it does, and whether it is possible on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from chaos import faults_of_files as files
from chaos import faults_of_processes as processes
from chaos import faults_of_servers as servers
from chaos.clock import faketime_library
from chaos.world import World

Fire = Callable[[World, Random], str | None]
"""Injects a fault and returns what was done, or returns None if there is nothing to inject it into at this moment."""


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault."""

    name: str
    fire: Fire
    late: bool = False
    """Whether the fault makes sense after the generation, too."""
    obstacle: Callable[[], str] = lambda: ""
    """Returns why the fault is impossible on this machine; empty if it is possible."""

    @property
    def description(self) -> str:
        """What the fault does, in one sentence."""
        return (self.fire.__doc__ or "").strip().split("\n")[0]


def _no_small_disk() -> str:
    return "" if can_mount() else "a small file system cannot be mounted; run the campaign as root"


def _no_permissions() -> str:
    if os.geteuid() != 0 or shutil.which("setpriv"):
        return ""
    return "root ignores read-only folders; install setpriv (package util-linux), or use another user"


def _no_faketime() -> str:
    return "" if faketime_library() else "libfaketime is not installed; run `apt-get install faketime`"


@cache
def can_mount() -> bool:
    """Return whether this process may mount a small file system in memory."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        mounted = mount(Path(folder), 1)
        if mounted:
            unmount(Path(folder))
        return mounted


def mount(folder: Path, megabytes: int) -> bool:
    """Mount an empty file system of this size at `folder`, and return whether that was possible."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Unmount the file system at `folder`, even if a process still uses it."""
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


KINDS: tuple[FaultKind, ...] = (
    FaultKind("kill -9", processes.kill, late=True),
    FaultKind("bit flip in a journal", files.flip_bit_in_journal),
    FaultKind("disk full", files.fill_disk, late=True, obstacle=_no_small_disk),
    FaultKind("network drop", servers.drop_network),
    FaultKind("SIGTERM", processes.terminate, late=True),
    FaultKind("truncated journal", files.truncate_journal),
    FaultKind("clock set back", processes.set_clock_back, late=True, obstacle=_no_faketime),
    FaultKind("server storm", servers.storm),
    FaultKind("stopped process", processes.stop_and_continue, late=True),
    FaultKind("NUL bytes in a journal", files.write_nul_to_journal),
    FaultKind("two workers on one shard", processes.start_twice),
    FaultKind("bit flip in the rate-limit log", files.flip_bit_in_rate_limit_log),
    FaultKind("read-only folder", files.make_read_only, obstacle=_no_permissions),
    FaultKind("dead key", servers.suspend_key),
    FaultKind("SIGINT", processes.interrupt, late=True),
    FaultKind("damaged rate-limit log", files.cut_rate_limit_log),
    FaultKind("clock set forward", processes.set_clock_forward, late=True, obstacle=_no_faketime),
    FaultKind("slow server", servers.slow_down),
    FaultKind("edited plan", files.edit_plan),
    FaultKind("damaged part", files.damage_part),
    FaultKind("damaged claims", files.damage_claims),
    FaultKind("changed quota", servers.change_quota),
)
BY_NAME = {kind.name: kind for kind in KINDS}


def possible_kinds() -> list[FaultKind]:
    """Return the kinds of faults that are possible on this machine."""
    return [kind for kind in KINDS if not kind.obstacle()]
