"""Scenarios of the generation benchmark with several chunks per call, shared work and packed repairs.

The simulator writes OUTPUT_TOKENS_PER_S tokens per second in these runs, so that long answers take longer. Unless
stated otherwise, the settings are the defaults, with repairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.generation_harness import OUTPUT_TOKENS_PER_S, RunFigures, floor_s, make_keys
from bench.generation_scenarios import KEYS, Bench, Scenario, killed_run, ratio

SINGLE: dict[str, object] = {"chunks_per_call": 1}
FREE_TIER = {"rpm": 10, "tpm": 250_000}
FAULTS = {
    **{"503": 0.02, "500": 0.01, "502": 0.005, "drop": 0.015, "malformed": 0.02, "max_tokens": 0.01},
    **{"empty": 0.01, "recitation": 0.02, "blocked": 0.005},
}
UNEQUAL = (5, 30, 10, 10, 10, 10, 10)


def run(b: Bench, name: str, chunks: int, settings: Mapping[str, object] | None = None, **options: Any) -> RunFigures:
    """Run the pipeline with a teacher whose answers take as long as their length requires."""
    return b.run(name, chunks, settings=settings or {}, **{"output_tokens_per_s": OUTPUT_TOKENS_PER_S, **options})


def packed_calls(b: Bench) -> None:
    """Process 400 chunks with unknown quotas of 10 requests and 250,000 tokens per minute, packed and not."""
    packed = run(b, "packed_calls", 400, quota=FREE_TIER)
    single = run(b, "packed_calls, single chunks", 400, SINGLE, quota=FREE_TIER)
    b.check("packed_calls", "seconds", packed.seconds, 75)
    b.check("packed_calls", "429s", packed.refused_429, 5)
    b.check("packed_calls", "lost chunks", packed.lost_chunks, 0)
    loss = 1 - packed.accepted_pairs / single.accepted_pairs
    b.check("packed_calls", "loss of accepted pairs against single chunks", round(loss, 4), 0.02)
    b.check("packed_calls", "repair calls / calls", ratio(packed.repair_calls, packed.calls), 0.15)
    b.check("packed_calls", "seconds / seconds with single chunks", ratio(packed.seconds, single.seconds), 0.25)


def packed_wide(b: Bench) -> None:
    """Process 1,800 chunks with unknown quotas of 10 requests and 250,000 tokens per minute."""
    f = run(b, "packed_wide", 1800, quota=FREE_TIER)
    single_floor = floor_s(math.ceil(1800 / KEYS), 10)
    b.check("packed_wide", f"seconds / floor of single chunks ({single_floor})", ratio(f.seconds, single_floor), 0.167)
    b.check("packed_wide", "lost chunks", f.lost_chunks, 0)
    b.check("packed_wide", "repair calls / calls", ratio(f.repair_calls, f.calls), 0.15)


def packed_tokens(b: Bench) -> None:
    """Limit only tokens per minute, with a constant latency; the client does not know the limit."""
    for name, chunks, tpm, settings in (
        ("packed_tokens", 400, 6_000, {"repair": False}),
        ("packed_tokens, 1,800 chunks", 1800, 30_000, {"repair": False}),
        ("packed_tokens, repairs", 1800, 30_000, {}),
    ):
        f = run(b, name, chunks, settings, quota={"tpm": tpm}, output_tokens_per_s=None)
        floor = floor_s(math.ceil(f.tokens / KEYS), tpm)
        b.check(name, f"seconds / token floor ({floor})", ratio(f.seconds, floor), 1.08)
        b.check(name, "lost chunks", f.lost_chunks, 0)


def unequal_quotas(b: Bench) -> None:
    """Use keys with unequal, unknown quotas: 5, 30 and five times 10 requests per minute. Without repairs."""
    quotas = {f"p{n}": {"rpm": rpm} for n, rpm in enumerate(UNEQUAL)}
    projects = {key.key.get_secret_value(): f"p{n}" for n, key in enumerate(make_keys(KEYS))}
    floor = round(400 / sum(UNEQUAL) * 60, 1)
    for name, settings in (("unequal_quotas", SINGLE), ("unequal_quotas, packed", {})):
        f = run(b, name, 400, {**settings, "repair": False}, quotas=quotas, projects=projects)
        b.check(name, f"seconds / capacity floor of single chunks ({floor})", ratio(f.seconds, floor), 1.12)
        b.check(name, "lost chunks", f.lost_chunks, 0)


def dying_keys(b: Bench) -> None:
    """Use a key that is dead at the start and one that dies after 30 s. With single chunks and without repairs.

    In 30 s, the second key uses its limit of the first window. The floor counts the limits of the five other keys from
    then on.
    """
    secrets = [key.key.get_secret_value() for key in make_keys(KEYS)]
    healthy = KEYS - 2
    floor = floor_s(math.ceil((400 - 10) / healthy), 10)
    f = run(
        b, "dying_keys", 400, {**SINGLE, "repair": False}, rpm=10,
        key_states={secrets[0]: "invalid"}, key_deaths={secrets[1]: 30},
    )  # fmt: skip
    b.check("dying_keys", f"seconds / floor ({floor})", ratio(f.seconds, floor), 1.08)
    b.check("dying_keys", "lost chunks", f.lost_chunks, 0)
    packed = run(
        b, "dying_keys, packed", 400, quota=FREE_TIER,
        key_states={secrets[0]: "invalid"}, key_deaths={secrets[1]: 10},
    )  # fmt: skip
    b.check("dying_keys, packed", "lost chunks", packed.lost_chunks, 0)


def packed_faults(b: Bench) -> None:
    """Inject faults of every kind. Only chunks that are always blocked may end without an answer."""
    f = run(b, "packed_faults", 400, quota=FREE_TIER, faults=FAULTS)
    b.check("packed_faults", "lost chunks, except those that are always blocked", f.lost_chunks, 0)
    b.check("packed_faults", "files that contain a key", len(f.files_with_key), 0)


def packed_killed(b: Bench) -> None:
    """Kill all workers twenty times (kill -9) during a packed run with faults."""
    killed_run(b, "packed_killed", {}, FAULTS, output_tokens_per_s=OUTPUT_TOKENS_PER_S)


def bad_teachers(b: Bench) -> None:
    """Use teachers with fewer, more, reordered and foreign ids, and chunks that spoil every pack they are in."""
    for name, options in (
        ("mixed_up_answers", {"pack_faults": dict.fromkeys(("fewer", "more", "reordered", "foreign_ids"), 0.05)}),
        ("poisonous_chunks", {"poison": 0.01}),
        ("wrong_token_counts", {"token_count_factor": 1 / 3}),
        ("bad_at_packs", {"pack_degradation": 0.05}),
    ):
        f = run(b, name, 400, quota=FREE_TIER, **options)
        b.check(name, "lost chunks", f.lost_chunks, 0)
        b.check(name, "429s", f.refused_429, 10)


PACKING: tuple[Scenario, ...] = (
    *(packed_calls, packed_wide, packed_tokens, unequal_quotas, dying_keys, packed_faults, packed_killed, bad_teachers),
)
"""Scenarios with several chunks per call. They mostly wait for a quota window and can therefore run in parallel."""
