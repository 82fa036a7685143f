"""Blocked answers: chunks are asked for in another way if that can help, and are quarantined if not."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from tests.generation.fixed_server import completion, server
from tests.generation.runs import SINGLE, chunks, first_answers, journal_records, keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import read_json
from insurance_rag.core.records.generation import PartManifest
from insurance_rag.generation import generate_shard, missing_chunks
from insurance_rag.generation.retry import MAX_BLOCKED_RETRIES, VARIANTS

FAST: dict[str, float] = {"speed": 600, "latency_s": 1.0, "pack_degradation": 0}
KEY = keys(1)[0]
N = 40


@pytest.mark.parametrize("chunks_per_call", [1, 6, "auto"])
def test_recitation_is_asked_for_in_another_way_and_nothing_is_quarantined(
    tmp_path: Path, chunks_per_call: int | str
) -> None:
    with running_simulator(**FAST, faults={"recitation": 1.0}) as sim:
        run, config = planned(tmp_path, sim, N, keys(1), chunks_per_call=chunks_per_call)
        part = generate_shard(run, 1, KEY, config)
        stats = sim.stats()
    assert stats["outcomes"]["recitation"] > 0
    assert part.quarantined == 0
    assert {chunk_id for chunk_id, _ in first_answers(run)} == {chunk.chunk_id for chunk in chunks(N)}
    assert set(first_answers(run).values()) == {1}
    assert stats["repeated_answers"] == 0


@pytest.mark.parametrize("chunks_per_call", [1, 6, "auto"])
def test_chunks_that_stay_blocked_are_quarantined_after_a_few_requests(
    tmp_path: Path, chunks_per_call: int | str
) -> None:
    with running_simulator(**FAST, faults={"blocked": 0.1}, seed=3) as sim:
        run, config = planned(tmp_path, sim, N, keys(1), chunks_per_call=chunks_per_call)
        part = generate_shard(run, 1, KEY, config)
        outcomes = sim.stats()["chunks"]
        repeated = sim.stats()["repeated_answers"]
    blocked = {chunk for chunk, found in outcomes.items() if "blocked" in found}
    quarantined = PartManifest.model_validate(read_json(manifest_path(run.part(1)))).quarantined_chunks
    texts = {chunk.chunk_id: hashlib.sha256(chunk.text.encode()).hexdigest() for chunk in chunks(N)}
    assert {texts[record.chunk_id] for record in quarantined} == blocked
    assert {record.reason for record in quarantined} == {"blocked"}
    assert part.quarantined == len(blocked) > 1
    assert missing_chunks(run) == {}
    packs = 0 if chunks_per_call == 1 else 2  # with all chunks of a call, and with some of them
    assert {outcomes[chunk]["blocked"] for chunk in blocked} <= {1 + MAX_BLOCKED_RETRIES + n for n in range(packs + 1)}
    others = [found for chunk, found in outcomes.items() if chunk not in blocked]
    assert all(found["answered"] == 1 for found in others) and len(others) == N - len(blocked)
    assert repeated == 0
    assert max(found.get("blocked_by_other", 0) for found in others) <= packs


def test_each_repetition_asks_in_another_way(tmp_path: Path) -> None:
    """The request for a blocked chunk becomes warmer, then asks for a paraphrase instead of quotations."""
    bodies: list[tuple[bool, float]] = []

    def blocked(prompt: str, temperature: float) -> tuple[int, object]:
        bodies.append(("### 바꿔 쓰기" in prompt, temperature))
        return 200, completion("", "RECITATION")

    with server(blocked) as sim:
        run, config = planned(tmp_path, sim, 1, keys(1), **SINGLE, temperature=0.3)
        part = generate_shard(run, 1, KEY, config)
    assert (part.quarantined, part.calls) == (1, 4)
    assert [paraphrase for paraphrase, _ in bodies] == [variant.paraphrase for variant in VARIANTS]
    temperatures = [temperature for _, temperature in bodies]
    assert temperatures[0] == temperatures[2] == 0.3
    assert temperatures[1] == temperatures[3] > 0.3
    assert [record["reason"] for record in journal_records(run)] == ["blocked"]
    assert rows(run) == []


def test_answers_after_a_paraphrase_are_recorded_like_others(tmp_path: Path) -> None:
    with running_simulator(**FAST, faults={"recitation": 1.0}, defects=0) as sim:
        run, config = planned(tmp_path, sim, 10, keys(1), **SINGLE)
        generate_shard(run, 1, KEY, config)
    assert Counter(row.type for row in rows(run)) == dict.fromkeys(config.types, 10)
    assert all(row.evidence in row.input for row in rows(run))
