"""Runs whose files were damaged by a disk: only what the damaged records held is requested again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.generation.runs import chunks, first_answers, journal_records, keys, planned

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.records import Chunk
from insurance_rag.generation import generate_run, generate_shard, missing_chunks
from insurance_rag.generation.teachers.base import Pair
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


def test_a_damaged_first_answer_costs_only_its_own_repair(tmp_path: Path) -> None:
    """The other chunks of the repair call are recorded, although the damage stops the process."""
    find_faults, first = pair_check(), set[str]()
    journal, damaged = tmp_path / "parts/journal/shard_1.jsonl", list[str]()

    def damage_during_first_repair(chunk: Chunk, pairs: Sequence[Pair]) -> list[tuple[str, str] | None]:
        if chunk.chunk_id in first and not damaged:
            damaged.append(chunk.chunk_id)
            data = bytearray(journal.read_bytes())
            data[data.index(b'"repairable", "chunk_id": "%s"' % chunk.chunk_id.encode()) + 60] ^= 4
            journal.write_bytes(data)
        first.add(chunk.chunk_id)
        return find_faults(chunk, pairs)

    with running_simulator(speed=600, latency_s=1.0, defects=0.4, pack_degradation=0) as sim:
        run, config = planned(tmp_path, sim, 30, keys(1), chunks_per_call=1)
        with pytest.raises(IncompleteError, match="was damaged while the journal was open; run the same command again"):
            generate_shard(run, 1, keys(1)[0], config, pair_check=damage_during_first_repair)
        repaired = sum("repair" in record for record in journal_records(run))
        part = generate_shard(run, 1, keys(1)[0], config, pair_check=find_faults)
        repeated = sim.stats()["repeated_answers"]
    assert repaired > 3
    assert missing_chunks(run) == {} and part.pending_repairs == 0
    assert repeated <= 2  # the damaged first answer, and its repair
