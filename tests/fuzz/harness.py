"""Runs a target on damaged inputs, and checks what it does with each of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.fuzz.targets import Target

from insurance_rag.core.errors import PipelineError

MAX_SECONDS = 10.0
"""Longest time that a parser may take for one of these inputs, which have less than 100 kB."""
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]


def check_one(target: Target, data: bytes) -> None:
    """Check that the target returns or raises a PipelineError, in time, and writes nothing if it raises.

    A file that a command completed before it found a problem in another one is no partial output; here, each target
    reads a single file. Temporary files must not remain in any case.
    """
    seconds = _check(target, data)
    if seconds > MAX_SECONDS:  # the first input may have loaded a library, and the machine may be busy
        seconds = _check(target, data)
    assert seconds < MAX_SECONDS, f"took {seconds:.1f} s for {len(data):,} bytes"


def _check(target: Target, data: bytes) -> float:
    """Check one run, and return how many seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.monotonic()
        failed = False
        try:
            target.parse(data, folder)
        except PipelineError as e:
            failed = True
            assert str(e).strip(), "the error has no message"
        seconds = time.monotonic() - start
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert not [path for path in files if path.suffix == ".tmp"], "a temporary file remains"
        written = [path for path in files if path.parent != folder and path.name != "plan.json"]
        written += [path for path in files if path.name == "out.jsonl"]
        assert not failed or not written, f"wrote {written} although it failed"
    return seconds


def fuzz(target: Target, examples: int, *, random_seed: int | None = None) -> None:
    """Run a target on random inputs. Without a seed, the inputs are the same every time."""

    @settings(
        max_examples=examples, derandomize=random_seed is None, database=None, deadline=None, print_blob=True,
        suppress_health_check=QUIET, phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(target.inputs)
    def run(data: bytes) -> None:
        check_one(target, data)

    seeded: Callable[[], None] = run if random_seed is None else seed(random_seed)(run)
    seeded()


def fuzz_for(target: Target, seconds: float, random_seed: int) -> int:
    """Run a target for a time, with new inputs in every round. Return the number of inputs."""
    end = time.monotonic() + seconds
    count, per_round = 0, 100
    while time.monotonic() < end:
        fuzz(target, per_round, random_seed=random_seed + count)
        count += per_round
    return count
