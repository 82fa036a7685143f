"""One shard against the simulator: answers, faults, dead keys, quotas, budget, and resuming."""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

import pytest
from tests.generation.runs import SINGLE, chunks, finished_keys, first_answers, keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.cli.main import main
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import (
    BudgetExceededError,
    IncompleteError,
    InvalidInputError,
    KeyRejectedError,
    QuotaExhaustedError,
)
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.records import ProgressState
from insurance_rag.core.records.generation import PartManifest
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_shard, missing_chunks
from insurance_rag.planning import make_plan, write_plan

FAULTS = {
    "503": 0.1,
    "500": 0.05,
    "502": 0.05,
    "drop": 0.05,
    "malformed": 0.1,
    "max_tokens": 0.05,
    "empty": 0.05,
    "fenced": 0.2,
}
FAST: dict[str, float] = {"speed": 600, "latency_s": 1.0}
KEY = keys(1)[0]


def manifest(run: RunFolder, shard: int = 1) -> PartManifest:
    return PartManifest.model_validate(read_json(manifest_path(run.part(shard))))


def test_shard_is_answered_and_written(tmp_path: Path) -> None:
    updates: list[ProgressState] = []
    with running_simulator(**FAST, defects=0) as sim:
        run, config = planned(tmp_path, sim, 25, keys(2), **SINGLE)
        part = generate_shard(run, 1, keys(2)[0], config, on_update=updates.append)
        calls = sim.stats()["calls"]
    assert part.chunks == 13
    assert part.calls == calls
    assert part.uri == str(run.part(1).resolve())
    assert part.sha256 == sha256_file(run.part(1))
    pairs = rows(run)
    assert len(pairs) == part.rows
    assert {pair.type for pair in pairs} == {"fact", "scenario", "easy"}
    assert {pair.chunk_id for pair in pairs} == {f"c{i:05}" for i in range(1, 14)}
    first = pairs[0]
    assert first.input.startswith("제1조(입원보험금)\n①")
    assert first.evidence in first.input
    assert str(first.meta["prompt_version"]).startswith("qa_v2@")
    assert (first.meta["chunks_per_call"], first.meta["model_version"]) == (1, config.model)
    assert first.meta["persona"] in config.questions.personas
    assert (first.meta["shard"], first.meta["key_id"], first.meta["model"]) == (1, "k1", config.model)
    assert manifest(run).artifact() == part
    assert manifest(run).parents[0].uri == str(run.chunks.resolve())
    assert part.tokens_in > 0
    assert part.cost_usd > 0
    assert (part.chunks_answered, part.pairs_accepted, part.moved) == (13, 39, {})
    assert updates[-1].done == 13
    assert list(missing_chunks(run)) == ["shard 2/2 · k2"]


def test_same_call_again_sends_no_request(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 8, keys(1))
        first = generate_shard(run, 1, KEY, config)
        calls = sim.stats()["calls"]
        again = generate_shard(run, 1, KEY, config)
        assert sim.stats()["calls"] == calls <= 8
    assert again.sha256 == first.sha256


@pytest.mark.parametrize("chunks_per_call", [1, 4, "auto"])
def test_faults_of_every_kind_cost_calls_but_no_chunk(tmp_path: Path, chunks_per_call: int | str) -> None:
    with running_simulator(**FAST, faults=FAULTS, seed=1) as sim:
        run, config = planned(tmp_path, sim, 60, keys(1), chunks_per_call=chunks_per_call)
        part = generate_shard(run, 1, KEY, config)
        stats = sim.stats()
    assert {row.chunk_id for row in rows(run)} == {chunk.chunk_id for chunk in chunks(60)}
    assert stats["repeated_answers"] == 0
    assert part.faults > 5 or part.calls < 30
    assert part.quarantined == 0
    assert part.calls == stats["calls"]
    assert max(first_answers(run).values()) == 1


def test_blocked_chunk_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    with running_simulator(**FAST, faults={"blocked": 0.3}, seed=2) as sim:
        run, config = planned(tmp_path, sim, 30, keys(1))
        part = generate_shard(run, 1, KEY, config)
        calls = sim.stats()["calls"]
        assert generate_shard(run, 1, KEY, config).quarantined == part.quarantined
        assert sim.stats()["calls"] == calls
    assert 0 < part.quarantined < 30
    quarantined = manifest(run).quarantined_chunks
    assert len(quarantined) == part.quarantined
    assert {record.reason for record in quarantined} == {"blocked"}
    assert "blocked: " in quarantined[0].detail
    assert missing_chunks(run) == {}


def test_chunk_without_a_readable_answer_is_quarantined(tmp_path: Path) -> None:
    with running_simulator(**FAST, faults={"malformed": 1.0}) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1), max_retries=2)
        part = generate_shard(run, 1, KEY, config)
        assert sim.stats()["calls"] == 6
    assert part.rows == 0
    assert manifest(run).quarantined_chunks[0].reason == "unreadable"
    assert part.tokens_out > 0  # unreadable answers are paid for too


@pytest.mark.parametrize("state", ["invalid", "leaked", "suspended", "disabled"])
def test_dead_key_ends_its_shard_after_two_requests(tmp_path: Path, state: str) -> None:
    with running_simulator(**FAST, key_states={"secret-1": state}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        with pytest.raises(KeyRejectedError, match=r"20 of 20 chunks missing.*replace the key"):
            generate_shard(run, 1, KEY, config)
        assert sim.stats()["calls"] <= 2
    assert not manifest_path(run.part(1)).exists()


def test_error_of_a_dead_key_has_a_short_traceback_that_ends_in_its_message(tmp_path: Path) -> None:
    """Every waiting coroutine meets the same error; it must not collect their frames."""
    with running_simulator(**FAST, key_states={"secret-1": "leaked"}) as sim:
        run, config = planned(tmp_path, sim, 80, keys(1))
        with pytest.raises(KeyRejectedError) as caught:
            generate_shard(run, 1, KEY, config)
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    assert len(traceback.extract_tb(caught.value.__traceback__)) < 15
    assert len([line for line in lines if line.startswith("Traceback")]) == 1
    assert "replace the key" in lines[-1]


def test_model_without_quota_is_not_waited_for(tmp_path: Path) -> None:
    with running_simulator(**FAST, quota={"rpm": 0}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        with pytest.raises(KeyRejectedError, match="limit: 0"):
            generate_shard(run, 1, KEY, config)
        assert sim.stats()["calls"] <= 2


@pytest.mark.parametrize(("chunks_per_call", "rpd"), [(1, 12), (4, 3)])
def test_exhausted_daily_quota_stops_the_shard(tmp_path: Path, chunks_per_call: int, rpd: int) -> None:
    with running_simulator(**FAST, quota={"rpd": rpd}, pack_degradation=0) as sim:
        run, config = planned(tmp_path, sim, 40, keys(1), chunks_per_call=chunks_per_call)
        with pytest.raises(QuotaExhaustedError, match=r"28 of 40 chunks missing.*20\d\d-\d\d-\d\d") as caught:
            generate_shard(run, 1, KEY, config)
        assert caught.value.resets_at is not None
        with pytest.raises(QuotaExhaustedError):
            generate_shard(run, 1, KEY, config)
    assert len(finished_keys(run)) == 12
    assert len({row.chunk_id for row in rows(run)}) == 12


def test_429_without_details_is_waited_out(tmp_path: Path) -> None:
    with running_simulator(speed=60, quota={"rpm": 10}, faults={"bare_429": 1}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1), chunks_per_call=1)
        part = generate_shard(run, 1, KEY, config)
    assert part.requests_429 > 0
    assert part.quarantined == 0


def test_outage_is_waited_out_but_a_dead_server_is_not(tmp_path: Path) -> None:
    with running_simulator(speed=120, latency_s=0.5, outages=[(8, 60)]) as sim:
        run, config = planned(tmp_path / "a", sim, 60, keys(1), max_retries=1)
        assert generate_shard(run, 1, KEY, config).quarantined == 0
        run, config = planned(tmp_path / "b", sim, 3, keys(1), max_retries=1)
    with pytest.raises(IncompleteError, match=r"no answer for .*ConnectError .*run the same command again"):
        generate_shard(run, 1, KEY, config)


@pytest.mark.parametrize("chunks_per_call", [1, "auto"])
def test_budget_stops_the_run_cleanly(tmp_path: Path, chunks_per_call: int | str) -> None:
    with running_simulator(**FAST, pack_degradation=0) as sim:
        run, config = planned(
            tmp_path, sim, 120, keys(1), budget_usd=0.04, max_in_flight=2, chunks_per_call=chunks_per_call
        )
        with pytest.raises(BudgetExceededError, match=r"the budget is used up .*; raise budget_usd"):
            generate_shard(run, 1, KEY, config)
        done = len(finished_keys(run))
        assert 0 < done < 120
        spent = RunUsage.model_validate(read_json(run.usage)).total.cost_usd
        assert 0.01 < spent <= 0.04
        generate_shard(run, 1, KEY, config.model_copy(update={"budget_usd": None}))
        stats = sim.stats()
    assert (stats["distinct_answered"], stats["repeated_answers"]) == (120, 0)


def test_two_workers_on_one_shard(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1))
        with hold_lock(run.lock(1), "shard 1/1 · k1"), pytest.raises(IncompleteError, match="is in use by"):
            generate_shard(run, 1, KEY, config)
        assert sim.stats()["calls"] == 0


def test_input_that_changed_after_the_plan(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1))
        run.chunks.write_text(run.chunks.read_text().replace("지급", "환급"))
        with pytest.raises(InvalidInputError, match="plan again"):
            generate_shard(run, 1, KEY, config)


def test_model_that_does_not_exist_is_invalid_input(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1), base_url=sim.url + "/nowhere")
        with pytest.raises(InvalidInputError, match="check the model name and --base-url"):
            generate_shard(run, 1, KEY, config)
    assert finished_keys(run) == []


def test_chunks_with_the_same_content_cost_one_call(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1))
        same = [chunks(1)[0], chunks(1)[0].model_copy(update={"chunk_id": "copy"})]
        write_plan(make_plan(same, keys(1), config), run, same)
        part = generate_shard(run, 1, KEY, config)
        assert sim.stats()["calls"] == 1
    assert {row.chunk_id for row in rows(run)} == {"c00001", "copy"}
    assert part.chunks == 2


def test_full_disk_is_an_error_that_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEMINI_API_KEYS", "secret-1")
    named = [KEY.model_copy(update={"id": "gemini_k1"})]
    replace = os.replace

    def full(source: str, target: Path) -> None:
        if Path(target).name == "dataset_part_1.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with running_simulator(**FAST) as sim:
        run, _ = planned(tmp_path, sim, 12, named)
        monkeypatch.setenv("GEMINI_QUOTA_WINDOW_S", str(sim.window_s))
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            assert main(["generate", "--run", str(run.root)]) == 3
        error = capsys.readouterr().err
        assert "dataset_part_1.json: cannot be written (No space left on device); free space" in error
        assert "Traceback" not in error
        assert main(["generate", "--run", str(run.root)]) == 0
    assert set(first_answers(run).values()) == {1}
    assert missing_chunks(run) == {}
