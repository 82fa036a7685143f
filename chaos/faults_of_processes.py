"""Faults of processes and clocks: killed, interrupted, stopped and duplicated processes, and jumps of the clock."""

from __future__ import annotations

import signal
import time
from random import Random

from chaos.processes import RunningProcess
from chaos.world import World


def kill(world: World, rng: Random) -> str | None:
    """Send SIGKILL to a random process."""
    return _signal(world, rng, signal.SIGKILL)


def terminate(world: World, rng: Random) -> str | None:
    """Send SIGTERM to a random process."""
    return _signal(world, rng, signal.SIGTERM)


def interrupt(world: World, rng: Random) -> str | None:
    """Send SIGINT to a random process, as Ctrl-C does."""
    return _signal(world, rng, signal.SIGINT)


def stop_and_continue(world: World, rng: Random) -> str | None:
    """Stop a random process for longer than a call may take, then let it continue."""
    process = _choose(world, rng)
    if process is None:
        return None
    seconds = world.scenario.timeout_s + rng.uniform(0.5, 1.5)
    process.send(signal.SIGSTOP)
    time.sleep(seconds)
    process.send(signal.SIGCONT)
    return f"{_name(process)} was stopped for {seconds:.1f} s"


def start_twice(world: World, rng: Random) -> str | None:
    """Start the command of a random process again while that process runs."""
    process = _choose(world, rng)
    if process is None:
        return None
    world.processes.start([process.command])
    return f"{_name(process)} was started a second time"


def set_clock_forward(world: World, rng: Random) -> str | None:
    """Set the clock of all processes forward by up to a day."""
    return _set_clock(world, rng.choice((30, 600, 3600, 86_400)))


def set_clock_back(world: World, rng: Random) -> str | None:
    """Set the clock of all processes back by up to a day."""
    return _set_clock(world, -rng.choice((30, 600, 3600, 86_400)))


def _set_clock(world: World, seconds: int) -> str | None:
    if world.clock is None or not world.processes.alive():
        return None
    world.clock.set_offset(seconds)
    time.sleep(1.2)  # until every process has noticed
    return f"the clock was set by {seconds:+d} s"


def _signal(world: World, rng: Random, number: signal.Signals) -> str | None:
    process = _choose(world, rng)
    if process is None:
        return None
    process.send(number)
    process.process.wait()
    return f"{number.name} to {_name(process)}"


def _choose(world: World, rng: Random) -> RunningProcess | None:
    alive = world.processes.alive()
    return rng.choice(alive) if alive else None


def _name(process: RunningProcess) -> str:
    shard = f" --shard {process.command.shard}" if process.command.shard else ""
    return f"`{process.command.stage}{shard}` (process {process.process.pid})"
