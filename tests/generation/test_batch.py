"""Batch mode of the Gemini simulator."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.generation.runs import first_answers, keys, planned

from gemini_simulator import running_simulator
from insurance_rag.core.errors import IncompleteError, InvalidInputError, KeyRejectedError
from insurance_rag.generation import generate_shard
from insurance_rag.generation.batch import fetch_batch, poll_batch, submit_batch

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
        assert part.calls < 30
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


def test_batch_needs_a_teacher_with_batch_mode_and_a_valid_key(tmp_path: Path) -> None:
    with running_simulator(speed=600, key_states={"secret-1": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        with pytest.raises(KeyRejectedError):
            submit_batch(run, 1, KEY, config)
        with pytest.raises(InvalidInputError, match=r"the teacher 'openai' has no batch mode; .* use one of: gemini"):
            submit_batch(run, 1, KEY, config.model_copy(update={"teacher": "openai"}))
