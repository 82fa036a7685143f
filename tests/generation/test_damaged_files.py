"""Runs whose files were damaged by a disk: only what the damaged records held is requested again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.generation.runs import chunks, first_answers, journal_records, keys, planned

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.generation import generate_run, missing_chunks
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.validation.pair_check import pair_check


def flip_bits(path: Path, flips: int, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(flips):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def asked_chunks(sim: RunningSimulator) -> int:
    """Return how many chunks all requests together asked about."""
    return sum(sum(outcomes.values()) for outcomes in sim.stats()["chunks"].values())


@pytest.mark.parametrize("seed", range(4))
def test_a_run_with_flipped_bits_is_finished(tmp_path: Path, seed: int) -> None:
    rng, flips = random.Random(seed), (1, 3, 10, 40)[seed]
    with running_simulator(speed=600, latency_s=0.5, defects=0.3) as sim:
        run, config = planned(tmp_path, sim, 30, keys(2))
        generate_run(run, keys(2), config, pair_check())
        asked = asked_chunks(sim)
        for path in [*run.journal.glob("shard_*.jsonl"), run.rate_limit_log, run.claims]:
            flip_bits(path, flips, rng)
        read_rate_limit_state(run.rate_limit_log)
        missing = [chunk_id for ids in missing_chunks(run).values() for chunk_id in ids]
        assert len(missing) <= 2 * 2 * flips
        result = generate_run(run, keys(2), config, pair_check())
        repeated = asked_chunks(sim) - asked
    assert len(missing) <= repeated <= 2 * 2 * 2 * flips  # a damaged record may be a first answer or a repair
    assert missing_chunks(run) == {}
    assert result.quarantined + len({chunk_id for chunk_id, _ in first_answers(run)}) == 30
    assert set(first_answers(run).values()) == {1}
    assert {str(record["chunk_id"]) for record in journal_records(run)} == {chunk.chunk_id for chunk in chunks(30)}
