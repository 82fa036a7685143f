"""What the limiter learns about quotas that differ between projects, and about servers that count tokens wrongly."""

from __future__ import annotations

import pytest
from tests.rate_limit.simulated_server import Server, World, separate_projects

from insurance_rag.rate_limit.state import RateLimitState

WINDOWS = 4
"""Every key gets the work of this many windows of its own quota."""
FLOOR_S = (WINDOWS - 1) * 60 + 1.5


@pytest.mark.parametrize("rpms", [[10, 30], [60, 10, 10, 10], [5, 10, 20, 60], [10, 15, 20, 25, 30, 35]])
@pytest.mark.parametrize("seed", range(3))
def test_unequal_quotas_are_learned_within_a_window(rpms: list[int], seed: int) -> None:
    """A small quota does not slow down the keys with larger ones, and a large one costs the others few 429s."""
    rpm_of = {f"k{number}": rpm for number, rpm in enumerate(rpms, 1)}
    shards = separate_projects(len(rpms), len(rpms))
    shards["work"] = {number: WINDOWS * rpm for number, rpm in enumerate(rpms, 1)}
    state = RateLimitState()
    world = World(Server(rpm=0, rpm_of=rpm_of), **shards, jitter_s=0.05, seed=seed).run(state)
    assert {name: pool.limits["requests"] for name, pool in state.pools.items()} == rpm_of
    assert world.refused <= 2 * len(rpms)
    assert world.seconds <= FLOOR_S + 75


@pytest.mark.parametrize("keys", [1, 3, 7])
@pytest.mark.parametrize(("factor", "slower"), [(1.0, 1.15), (1 / 3, 1.5), (3.0, 4.2)])
def test_wrong_token_counts_converge_without_a_flood_of_429s(keys: int, factor: float, slower: float) -> None:
    """Counts that are too small cost some 429s, until less of the limit is used. Counts that are too large cost time.

    With too large counts, the limiter never exceeds the limit. It has no reason to doubt the counts.
    """
    calls_per_window = 20
    server = Server(rpm=1000, tpm=calls_per_window * 300)
    shards = separate_projects(keys, WINDOWS * calls_per_window * keys)
    world = World(server, **shards, jitter_s=0.05, token_count_factor=factor).run()
    assert world.answers.total() == sum(shards["work"].values())
    assert world.refused <= (8 * keys if factor < 1 else 2)
    assert world.seconds <= slower * FLOOR_S
