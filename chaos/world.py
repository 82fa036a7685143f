"""The running parts of one campaign, which the faults act on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chaos.clock import FakeClock
from chaos.history import History, JournalWatch
from chaos.processes import ProcessGroup
from chaos.scenario import Scenario
from chaos.server import CampaignServer
from insurance_rag.core.run_folder import RunFolder

SPEED = 40.0
"""Seconds on the simulator's clock per real second."""


@dataclass
class World:
    """One campaign in progress."""

    scenario: Scenario
    folder: Path
    run: RunFolder
    server: CampaignServer
    processes: ProcessGroup
    history: History
    watch: JournalWatch
    clock: FakeClock | None
    """The clock of all commands; None if this scenario does not change it."""
    secrets: tuple[str, ...]
    edited_plan: bool = False
    """Whether the plan is invalid at present, because a fault edited it."""
    damaged_parts: set[str] = field(default_factory=set)
    """Names of the part files that a fault damaged and that have not been written again yet."""

    def look(self) -> None:
        """Note which answers are on disk now."""
        self.watch.poll(self.server.now_s())
