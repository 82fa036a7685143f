"""Batch mode of the Gemini simulator."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.generation.runs import chunks, first_answers, keys, planned

from gemini_simulator import running_simulator
from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import IncompleteError, InvalidInputError, KeyRejectedError
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.generation import BatchHandle, PartArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_shard
from insurance_rag.generation.batch import fetch_batch, poll_batch, submit_batch
from insurance_rag.planning import make_plan, write_plan

KEY = keys(1)[0]


def test_batch_costs_half_and_fills_the_same_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("insurance_rag.generation.batch.MAX_BATCH_BYTES", 40_000)  # several batches
    with running_simulator(speed=600, batch_s=1200, faults={"malformed": 0.1, "503": 0.1, "blocked": 0.05}) as sim:
        run, config = planned(tmp_path, sim, 60, keys(1))
        handle = submit_batch(run, 1, KEY, config)
        assert handle is not None
        assert handle.chunks == 60
        assert len(handle.batches) > 1
        assert submit_batch(run, 1, KEY, config) == handle  # found again after a crash and not paid twice
        assert not poll_batch(handle, KEY, config)
        with pytest.raises(IncompleteError, match="BATCH_STATE_RUNNING"):
            fetch_batch(run, handle, KEY, config)
        while not poll_batch(handle, KEY, config):
            time.sleep(0.05)
        with pytest.raises(IncompleteError, match="chunks are still open"):
            fetch_batch(run, handle, KEY, config)
        part = generate_shard(run, 1, KEY, config)  # requests the chunks that the batch left open
        assert part.calls < 45  # with the calls that faults of the server repeat
        assert submit_batch(run, 1, KEY, config) is None
    assert part.chunks == 60
    assert set(first_answers(run).values()) == {1}
    full = (part.tokens_in * 0.3 + part.tokens_out * 2.5) / 1e6
    assert 0.45 * full < part.cost_usd < 0.7 * full


def test_batch_without_faults_completes_its_shard(tmp_path: Path) -> None:
    with running_simulator(speed=600, batch_s=1) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        handle = submit_batch(run, 1, KEY)
        assert handle is not None
        while not poll_batch(handle, KEY, config):
            time.sleep(0.05)
        assert fetch_batch(run, handle, KEY).chunks == 5


def fetch_when_ended(run: RunFolder, handle: BatchHandle | None, key: ApiKey, config: GenerationConfig) -> PartArtifact:
    assert handle is not None
    while not poll_batch(handle, key, config):
        time.sleep(0.05)
    return fetch_batch(run, handle, key, config)


def test_a_chunk_that_another_batch_answered_does_not_lose_its_neighbours(tmp_path: Path) -> None:
    same = chunks(8)
    same[7] = same[7].model_copy(update={"text": same[0].text})  # in the second shard
    with running_simulator(speed=600, batch_s=1, defects=0) as sim:
        run, config = planned(tmp_path, sim, 8, keys(2), chunks_per_call=4)
        write_plan(make_plan(same, keys(2), config), run, same)
        handles = [submit_batch(run, n, key, config) for n, key in enumerate(keys(2), 1)]
        parts = [fetch_when_ended(run, handle, key, config) for handle, key in zip(handles, keys(2), strict=True)]
        assert [part.chunks for part in parts] == [4, 4]
        assert all(part.tokens_in > 0 for part in parts)
        again = fetch_when_ended(run, handles[1], keys(2)[1], config)
    assert again.tokens_in == parts[1].tokens_in, "tokens count once, however often the batch is fetched"
    assert set(first_answers(run).values()) == {1}


def test_chunks_with_the_same_content_are_submitted_once(tmp_path: Path) -> None:
    same = [chunk.model_copy(update={"text": chunks(1)[0].text}) for chunk in chunks(6)]
    with running_simulator(speed=600, batch_s=1, defects=0) as sim:
        run, config = planned(tmp_path, sim, 6, keys(1))
        write_plan(make_plan(same, keys(1), config), run, same)
        assert fetch_when_ended(run, submit_batch(run, 1, KEY, config), KEY, config).chunks == 6
        assert sim.stats()["distinct_answered"] == 1
        assert sim.stats()["repeated_answers"] == 0


def test_batches_are_found_again_although_the_size_of_the_requests_has_changed(tmp_path: Path) -> None:
    with running_simulator(speed=600, batch_s=1, defects=0) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        handle = submit_batch(run, 1, KEY, config)
        assert submit_batch(run, 1, KEY, config.model_copy(update={"chunks_per_call": 7})) == handle
        assert fetch_when_ended(run, handle, KEY, config).chunks == 20
        assert sim.stats()["repeated_answers"] == 0


def test_batch_needs_a_teacher_with_batch_mode_and_a_valid_key(tmp_path: Path) -> None:
    with running_simulator(speed=600, key_states={"secret-1": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        with pytest.raises(KeyRejectedError):
            submit_batch(run, 1, KEY, config)
        with pytest.raises(InvalidInputError, match=r"the teacher 'openai' has no batch mode; .* use one of: gemini"):
            submit_batch(run, 1, KEY, config.model_copy(update={"teacher": "openai"}))
