"""The result of one campaign, as it is printed and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from chaos.history import FaultEvent, Violation
from insurance_rag.core.files import atomic_write


@dataclass(frozen=True)
class Outcome:
    """The result of one campaign."""

    seed: int
    scenario: str
    """The scenario and its schedule as text."""
    chunks: int
    violations: tuple[Violation, ...]
    faults: tuple[FaultEvent, ...]
    exit_codes: Mapping[int, int]
    """Exit code -> number of processes."""
    tries: Mapping[str, int]
    """Stage -> number of times that its command was started."""
    repeated: int
    """Number of answers that the server gave more than once, because a fault interrupted the first delivery."""
    damaged: int
    """Number of chunks whose records the campaign damaged."""
    seconds: float


_OUTCOMES = TypeAdapter(list[Outcome])


def read_outcomes(path: Path) -> list[Outcome]:
    """Return the outcomes in a file that `write_outcomes` wrote; an empty list if there is none."""
    return _OUTCOMES.validate_json(path.read_bytes()) if path.exists() else []


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes as JSON."""
    with atomic_write(path, "wb") as f:
        f.write(_OUTCOMES.dump_json(list(outcomes), indent=1) + b"\n")
