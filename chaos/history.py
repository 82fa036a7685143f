"""What happened in a campaign: the faults, how each process ended, and which answers were on disk at what time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chaos.processes import ProcessExit
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.journal import Journal
from insurance_rag.core.run_folder import RunFolder

AnswerKey = tuple[str, bool]
"""(chunk id, whether it is the answer to a repair request)."""


@dataclass(frozen=True)
class FaultEvent:
    """A fault that fired. Times are in seconds on the simulator's clock."""

    kind: str
    stage: str
    started_s: float
    ended_s: float
    what: str
    """What was done, e.g. which process was killed."""
    in_flight: int = 0
    """Number of calls in flight when the fault fired."""


@dataclass(frozen=True)
class Violation:
    """A broken invariant, with the evidence for it."""

    invariant: str
    evidence: str


@dataclass
class History:
    """Everything that the campaign observed while it ran."""

    faults: list[FaultEvent] = field(default_factory=list)
    exits: list[ProcessExit] = field(default_factory=list)
    acknowledged: dict[AnswerKey, float] = field(default_factory=dict)
    """Time at which an answer was first seen in a journal, in seconds on the simulator's clock."""
    damaged: set[str] = field(default_factory=set)
    """Ids of the chunks whose records the campaign damaged."""
    damaged_files: set[Path] = field(default_factory=set)
    """Files that the campaign damaged."""
    violations: list[Violation] = field(default_factory=list)
    """Violations that were seen while the campaign ran."""
    tries: dict[str, int] = field(default_factory=dict)
    """Stage -> number of times that its command was started."""


class JournalWatch:
    """Reads the journals of a run while it is being written, to learn which answers are on disk."""

    def __init__(self, run: RunFolder, history: History) -> None:
        self._run, self._history = run, history
        self._files: dict[Path, Journal] = {}

    def poll(self, now_s: float) -> None:
        """Note the answers that were written since the last call."""
        for path in self._run.journal.glob("*.jsonl"):
            journal = self._files.setdefault(path, Journal(path))
            try:
                records = list(journal.read_new())
            except PipelineError:  # the folder is unreadable for a while, because of a fault
                continue
            for record in records:
                if record.get("state") in ("answered", "repairable"):
                    key = (str(record["chunk_id"]), "repair" in record)
                    self._history.acknowledged.setdefault(key, now_s)
