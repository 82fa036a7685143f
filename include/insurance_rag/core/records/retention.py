"""Records about the removal of old runs."""

from __future__ import annotations

from insurance_rag.core.records.data import Record


class RunVerdict(Record):
    """What `prune` decided about one run."""

    run: str
    removed: bool
    """With a dry run: whether the run would be removed."""
    reason: str


class PruneResult(Record):
    """Result of `prune`."""

    dry_run: bool
    removed: int
    """Number of runs that were removed; with a dry run, that would be removed."""
    kept: int
    runs: list[RunVerdict]
    """The runs, oldest first."""
