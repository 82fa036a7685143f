"""Draw a scenario from a seed: the size of a run, the server's limits, and the faults with their moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

PIPELINE_STAGES = ("generate", "validate", "train", "evaluate", "promote", "report")
LATE_STAGES = ("validate", "train", "evaluate")
"""Stages that take long enough to be interrupted in the middle."""
MAX_EXTRA_FAULTS = 2
TIMEOUT_S = 10.0
"""Timeout of one call in real seconds. A busy machine must not exceed it without a fault."""
SHORT_TIMEOUT_S = 4.0
"""Timeout in scenarios with faults that must last longer than a call."""
LONGER_THAN_A_CALL = frozenset({"stopped process", "slow server"})
"""Faults that must last longer than a call."""


@dataclass(frozen=True)
class PlannedFault:
    """A fault and the moment at which it fires.

    In the stage `generate`, `progress` is the fraction of the chunks that the server has answered. In the other stages,
    it is a fraction of the time that the stage usually takes.
    """

    kind: str
    stage: str
    progress: float
    delay_s: float
    """Number of seconds after that moment."""
    seed: int
    """Seed for the fault's own draws, e.g. which process is killed or which bit flips."""

    @property
    def while_busy(self) -> bool:
        """Whether the fault waits for a moment with calls in flight. Half of the faults of `generate` do."""
        return self.stage == "generate" and self.seed % 2 == 0

    def __str__(self) -> str:
        busy = ", with calls in flight" if self.while_busy else ""
        return f"{self.stage} at {self.progress:.0%} + {self.delay_s:.2f} s{busy}: {self.kind}"


@dataclass(frozen=True)
class Scenario:
    """One campaign. The same seed always gives the same scenario; how the processes interleave is not determined."""

    seed: int
    chunks: int
    keys: int
    one_project: bool
    """Whether all keys share one quota."""
    known_quota: bool
    """Whether keys.json states the quota."""
    rpm: int
    tpm: int | None
    window: Literal["rolling", "fixed", "bucket"]
    chunks_per_call: int | Literal["auto"]
    process_per_shard: bool
    """Whether every shard has its own process, as in Airflow, or one process works on all shards."""
    background_faults: dict[str, float]
    """Faults of the server during the whole run."""
    faults: tuple[PlannedFault, ...]
    stages: tuple[str, ...]

    @property
    def timeout_s(self) -> float:
        """Timeout of one call in real seconds."""
        return SHORT_TIMEOUT_S if LONGER_THAN_A_CALL & {fault.kind for fault in self.faults} else TIMEOUT_S

    def describe(self) -> str:
        """Return the scenario and its schedule as text."""
        processes = "one process per shard" if self.process_per_shard else "one process"
        projects = "one project" if self.one_project else "their own projects"
        tokens = f" and {self.tpm:,} tokens" if self.tpm else ""
        known = "known" if self.known_quota else "unknown"
        head = (
            f"seed {self.seed}: {self.chunks} chunks, {self.keys} keys in {projects}, {known} quota of {self.rpm} "
            f"requests{tokens} per minute ({self.window}), {self.chunks_per_call} chunks per call, {processes}"
        )
        return "\n".join([head, *(f"  {fault}" for fault in self.faults)])


def draw_scenario(seed: int, kinds: Sequence[str], late_kinds: Sequence[str] = (), pipeline: bool = False) -> Scenario:
    """Draw the scenario of a seed.

    `kinds` are the faults of the stage `generate`. The first one is chosen by the seed in rotation, so that as many
    consecutive seeds as there are kinds fire each kind at least once. With `pipeline`, two of the later stages get a
    fault of `late_kinds` as well.
    """
    rng = Random(f"scenario {seed}")
    chosen = [kinds[seed % len(kinds)], *rng.choices(kinds, k=rng.randint(0, MAX_EXTRA_FAULTS))]
    faults = [_draw_fault(kind, "generate", rng) for kind in chosen]
    if pipeline:
        faults += [_draw_fault(rng.choice(late_kinds), stage, rng) for stage in rng.sample(LATE_STAGES, 2)]
    return Scenario(
        seed=seed,
        chunks=rng.randint(60, 120),
        keys=rng.randint(2, 3),
        one_project=rng.random() < 0.3,
        known_quota=rng.random() < 0.5,
        rpm=rng.choice((12, 20, 40)),
        tpm=rng.choice((None, None, 40_000)),
        window=rng.choice(("rolling", "fixed", "bucket")),
        chunks_per_call=rng.choice((1, 2, "auto")),
        process_per_shard=rng.random() < 0.5,
        background_faults=rng.choice(
            ({}, {"503": 0.03, "drop": 0.02}, {"malformed": 0.03, "max_tokens": 0.02, "blocked": 0.01})
        ),
        faults=tuple(sorted(faults, key=lambda fault: (PIPELINE_STAGES.index(fault.stage), fault.progress))),
        stages=PIPELINE_STAGES if pipeline else ("generate",),
    )


def _draw_fault(kind: str, stage: str, rng: Random) -> PlannedFault:
    progress = rng.uniform(0.05, 0.8) if stage == "generate" else rng.uniform(0.1, 0.95)
    return PlannedFault(kind, stage, round(progress, 3), round(rng.uniform(0, 0.3), 3), rng.randrange(2**31))
