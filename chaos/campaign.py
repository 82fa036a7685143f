"""Run one campaign: start the real commands, inject the scheduled faults, repeat the commands, and check the result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from chaos.checker import ENDS
from chaos.faults_of_files import restore_plan
from chaos.history import FaultEvent, Violation
from chaos.menu import BY_NAME
from chaos.processes import Command, ProcessExit, RunningProcess
from chaos.published import unpublished_problems
from chaos.scenario import PlannedFault
from chaos.stages import (
    DEFAULT_IDLE_LIMIT_S,
    IDLE_LIMIT_S,
    USUAL_SECONDS,
    PipelineFolders,
    generate_commands,
    is_complete,
    stage_command,
)
from chaos.world import World

POLL_S = 0.03
PER_SHARD_TRIES = 2
"""Number of tries with one process per shard. After them, one command takes all shards, as the pipeline's task for the
chunks of dead keys does."""
_DONE = {"promote": (0, 4)}
"""Exit codes that end a stage, if it is not only 0. A gate may reject a result."""
BUSY_WAIT_S, BUSY_POLL_S = 2.0, 0.005
"""How long a fault waits for calls in flight, and how often it looks."""
PAUSE_S = 0.1
"""Pause between two tries."""


class HangError(Exception):
    """A command neither made progress nor ended."""


class Campaign:
    """The stages of one scenario, run one after the other."""

    def __init__(self, world: World, folders: PipelineFolders) -> None:
        """Prepare to run the stages of the world's scenario."""
        self._world, self._folders = world, folders
        self._pending = list(world.scenario.faults)
        self._max_tries = 6 + 2 * len(self._pending)

    def run(self) -> None:
        """Run all stages. Stop at the first stage that does not end."""
        for stage in self._world.scenario.stages:
            if stage == "validate":
                self._validate_undisturbed()
            try:
                ended = self._run_stage(stage)
            except HangError as e:
                self._violate(ENDS, str(e))
                ended = False
            if not ended:
                return

    def _run_stage(self, stage: str) -> bool:
        """Start the stage's commands again and again until they have ended well, and return whether they have."""
        for attempt in range(1, self._max_tries + 1):
            commands = self._commands(stage, attempt)
            if not commands:
                return True
            self._world.history.tries[stage] = attempt
            edited = self._world.edited_plan
            self._world.processes.start(commands)
            before = len(self._world.history.exits)
            self._follow(stage)
            codes = [ended.code for ended in self._world.history.exits[before:]]
            self._check_published()
            if edited:
                restore_plan(self._world)
            if codes and all(code in _DONE.get(stage, (0,)) for code in codes) and self._has_ended(stage):
                return True
            time.sleep(PAUSE_S)
        self._violate(ENDS, f"{stage} did not end within {self._max_tries} tries; {self._last_error()}")
        return False

    def _has_ended(self, stage: str) -> bool:
        return stage != "generate" or not generate_commands(self._folders, per_shard=True)

    def _commands(self, stage: str, attempt: int) -> Sequence[Command]:
        if stage != "generate":
            return [stage_command(stage, self._folders)]
        last = {ended.shard: ended.code for ended in self._world.history.exits if ended.stage == stage}
        failed = [number for number, code in last.items() if number is not None and code != 0]
        return generate_commands(
            self._folders, self._world.scenario.process_per_shard and attempt <= PER_SHARD_TRIES, failed
        )

    def _follow(self, stage: str) -> None:
        """Inject faults until all processes have ended. Raises HangError."""
        world, started = self._world, time.monotonic()
        active, seen = started, (0, 0)
        while True:
            world.look()
            self._record_exits()
            if not world.processes.running:
                return
            progress = len(world.server.requests()), len(world.history.exits)
            if progress != seen:
                active, seen = time.monotonic(), progress
            self._fire_due(stage, time.monotonic() - started)
            limit = IDLE_LIMIT_S.get(stage, DEFAULT_IDLE_LIMIT_S)
            if time.monotonic() - active > limit:
                names = ", ".join(process.errors.name for process in world.processes.alive())
                world.processes.kill_all()
                raise HangError(f"{stage}: no request and no end for {limit:.0f} s (see {names})")
            time.sleep(POLL_S)

    def _fire_due(self, stage: str, seconds: float) -> None:
        """Fire the first fault of the stage whose moment has come and that has something to act on."""
        progress = self._progress(stage, seconds)
        due = [fault for fault in self._pending if fault.stage == stage and fault.progress <= progress]
        for fault in due:
            time.sleep(fault.delay_s)
            if fault.while_busy:
                self._await_calls()
            if self._fire(fault):
                self._pending.remove(fault)
                return

    def _await_calls(self) -> None:
        """Wait until calls are in flight, but not long: the processes may have none left."""
        deadline = time.monotonic() + BUSY_WAIT_S
        while not self._calls_in_flight() and time.monotonic() < deadline and self._world.processes.alive():
            time.sleep(BUSY_POLL_S)

    def _calls_in_flight(self) -> int:
        return sum(request.finished_s is None for request in self._world.server.requests())

    def _fire(self, fault: PlannedFault) -> bool:
        world = self._world
        self._record_exits()  # of processes that ended before the fault
        world.look()
        started_s = world.server.now_s()
        in_flight = self._calls_in_flight()
        what = BY_NAME[fault.kind].fire(world, Random(fault.seed))
        if what is None:
            return False
        world.history.faults.append(
            FaultEvent(fault.kind, fault.stage, started_s, world.server.now_s(), what, in_flight)
        )
        self._check_published()
        return True

    def _progress(self, stage: str, seconds: float) -> float:
        if stage != "generate":
            return seconds / USUAL_SECONDS.get(stage, 1.0)
        answered = {
            asked.sha256
            for request in self._world.server.requests()
            for asked, outcome in zip(request.chunks, request.chunk_outcomes, strict=True)
            if outcome == "answered"
        }
        return len(answered) / self._world.scenario.chunks

    def _record_exits(self) -> None:
        self._world.history.exits += [self._describe_exit(process) for process in self._world.processes.take_ended()]

    def _describe_exit(self, process: RunningProcess) -> ProcessExit:
        command, code = process.command, process.process.returncode
        output = process.output.read_text(errors="replace")
        return ProcessExit(
            stage=command.stage,
            arguments=command.arguments,
            shard=command.shard,
            code=code,
            signals=tuple(process.signals),
            errors=process.errors.read_text(errors="replace"),
            complete=code == 0 and is_complete(command, self._world.run, output),
            may_reject_input=self._world.edited_plan,
        )

    def _validate_undisturbed(self) -> None:
        """Validate into another folder, without faults, for comparison."""
        arguments = ("--run", str(self._world.run.root), "--out", str(undisturbed_dataset(self._world.folder)))
        self._world.processes.start([Command("validate", arguments)])
        self._follow("undisturbed validation")

    def _check_published(self) -> None:
        world = self._world
        for problem in unpublished_problems(world.run):
            if not any(name in problem for name in world.damaged_parts):
                self._violate("nothing partial is published", problem)

    def _violate(self, invariant: str, evidence: str) -> None:
        self._world.history.violations.append(Violation(invariant, evidence))

    def _last_error(self) -> str:
        exits = self._world.history.exits
        return f"the last process ended with {exits[-1].code}: {exits[-1].errors.strip()[-600:]}" if exits else ""


def undisturbed_dataset(folder: Path) -> Path:
    """Return the folder of the dataset that `validate` wrote without faults."""
    return folder / "dataset_undisturbed"
