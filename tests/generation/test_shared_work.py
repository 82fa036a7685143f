"""Workers share the chunks of a run: fast keys help slow ones, and others answer the chunks of dead workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.generation.runs import (
    SINGLE,
    chunks,
    finished_keys,
    first_answers,
    keys,
    planned,
    read_part,
    rows,
)

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.files import read_json
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.records.generation import PartManifest
from insurance_rag.core.records.usage import Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_run, generate_shard, missing_chunks, parts
from insurance_rag.planning import read_plan, reuse_answers
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import missing_work_items, work_items_by_shard
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.validation.pair_check import pair_check

PROJECTS = {"secret-1": "p1", "secret-2": "p2"}
SLOW_SECOND_KEY: dict[str, object] = {"projects": PROJECTS, "quotas": {"p1": {"rpm": 120}, "p2": {"rpm": 6}}}


def manifest(run: RunFolder, shard: int) -> PartManifest:
    return PartManifest.model_validate(read_json(manifest_path(run.part(shard))))


def check_rows(run: RunFolder, n: int) -> None:
    """Check that every chunk has its rows once, in the part of its own shard."""
    assert missing_chunks(run) == {}
    assert len(finished_keys(run)) == len(set(finished_keys(run))) == n
    assert set(first_answers(run).values()) == {1}
    assert {row.chunk_id for row in rows(run)} == {chunk.chunk_id for chunk in chunks(n)}
    for shard in read_plan(run).shards:
        assert {row.chunk_id for row in read_part(run, shard.shard)} == set(shard.chunk_ids)


@pytest.mark.parametrize("chunks_per_call", [1, "auto"])
def test_the_worker_of_a_fast_key_takes_over_from_a_slow_one(tmp_path: Path, chunks_per_call: int | str) -> None:
    n = 60 if chunks_per_call == 1 else 240
    with running_simulator(speed=20, latency_s=1.0, **SLOW_SECOND_KEY) as sim:
        run, config = planned(tmp_path, sim, n, keys(2), chunks_per_call=chunks_per_call)
        generate_run(run, keys(2), config)
        stats = sim.stats()
    check_rows(run, n)
    assert stats["repeated_answers"] == 0
    slow = manifest(run, 2)
    assert slow.chunks == n // 2
    assert slow.moved.keys() == {"k1"} and slow.moved["k1"] > n / 8
    answered_by = Counter(str(row.meta["key_id"]) for row in read_part(run, 2) if row.type == "fact")
    assert answered_by["k1"] == slow.moved["k1"]
    assert {str(row.meta["key_id"]) for row in read_part(run, 1)} == {"k1"} and manifest(run, 1).moved == {}
    assert (manifest(run, 1).helped, manifest(run, 2).helped) == (slow.moved["k1"], 0)
    assert stats["clock_s"] < 30 / 6 * 60 / 2, "less than half of the time that the slow key would need"


def test_a_key_that_is_dead_at_the_start_does_not_fail_the_run(tmp_path: Path) -> None:
    with running_simulator(speed=600, latency_s=1.0, key_states={"secret-1": "suspended"}) as sim:
        run, config = planned(tmp_path, sim, 40, keys(3))
        result = generate_run(run, keys(3), config)
        assert min(key["calls"] for key in sim.stats()["keys"].values()) <= 2
    check_rows(run, 40)
    assert [part.chunks for part in result.parts] == [14, 14, 12]
    assert sum(manifest(run, 1).moved.values()) == 14


def test_a_key_whose_daily_quota_ends_early_does_not_fail_the_run(tmp_path: Path) -> None:
    quotas: dict[str, object] = {"projects": PROJECTS, "quotas": {"p1": {"rpd": 3}}}
    with running_simulator(speed=600, latency_s=1.0, **quotas) as sim:
        run, config = planned(tmp_path, sim, 30, keys(2), **SINGLE)
        generate_run(run, keys(2), config)
        assert sim.stats()["repeated_answers"] == 0
    check_rows(run, 30)
    assert manifest(run, 1).moved == {"k2": 12}


def test_one_shard_alone_does_not_touch_a_shard_that_was_never_started(tmp_path: Path) -> None:
    with running_simulator(speed=600, latency_s=1.0) as sim:
        run, config = planned(tmp_path, sim, 20, keys(2))
        part = generate_shard(run, 1, keys(2)[0], config)
        assert (part.chunks, sim.stats()["distinct_answered"]) == (10, 10)
    assert list(missing_chunks(run)) == ["shard 2/2 · k2"]
    assert not run.part(2).exists()


def test_a_shard_that_stopped_early_is_finished_by_another_one(tmp_path: Path) -> None:
    with running_simulator(speed=600, latency_s=1.0, key_states={"secret-2": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(2))
        with pytest.raises(IncompleteError):
            generate_shard(run, 2, keys(2)[1], config)
        assert generate_shard(run, 1, keys(2)[0], config).chunks == 10
    check_rows(run, 20)
    assert manifest(run, 2).moved == {"k1": 10}


def test_a_part_is_written_again_when_another_worker_has_made_its_repairs(tmp_path: Path) -> None:
    quotas: dict[str, object] = {"projects": PROJECTS, "quotas": {"p2": {"rpd": 10}}, "defects": 0.5}
    with running_simulator(speed=600, latency_s=1.0, **quotas) as sim:
        run, config = planned(tmp_path, sim, 20, keys(2), **SINGLE)
        pending = generate_shard(run, 2, keys(2)[1], config, pair_check=pair_check())
        generate_shard(run, 1, keys(2)[0], config, pair_check=pair_check())
    assert (pending.repaired, pending.pending_repairs > 3) == (0, True)
    assert manifest(run, 2).pending_repairs == 0
    repaired = [row for row in read_part(run, 2) if row.meta.get("repaired")]
    assert len(repaired) == manifest(run, 2).repaired > 3


def test_a_part_that_its_own_worker_has_just_finished_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_simulator(speed=600, latency_s=1.0) as sim:
        run, config = planned(tmp_path, sim, 8, keys(2))
        generate_run(run, keys(2), config)
    plan, finished = read_plan(run), manifest_path(run.part(2))
    hidden = finished.rename(finished.with_suffix(".hidden"))

    def lock_after_the_worker_has_finished(path: Path, what: str) -> AbstractContextManager[None]:
        hidden.rename(finished)
        return hold_lock(path, what)

    monkeypatch.setattr(parts, "hold_lock", lock_after_the_worker_has_finished)
    monkeypatch.setattr(parts, "finish_part", pytest.fail)
    items = work_items_by_shard(run, PromptSpec.from_config(config), plan.shards)
    parts.finish_answered_parts(run, plan, items, lambda shard: Usage())
    assert finished.exists()


def test_the_chunks_of_others_count_after_a_restart_too(tmp_path: Path) -> None:
    with running_simulator(speed=600, latency_s=1.0, key_states={"secret-2": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(2))
        generate_run(run, keys(2), config)
        assert generate_shard(run, 1, keys(2)[0], config).helped == 10


def test_answers_that_are_reused_from_an_earlier_run_count_for_no_key(tmp_path: Path) -> None:
    with running_simulator(speed=600, latency_s=1.0, key_states={"secret-2": "invalid"}) as sim:
        earlier, config = planned(tmp_path / "earlier", sim, 20, keys(2))
        generate_run(earlier, keys(2), config)
        run, _ = planned(tmp_path / "run", sim, 24, keys(2))
        reuse_answers(run, [earlier])
        generate_run(run, keys(2), config)
    check_rows(run, 24)
    assert (manifest(earlier, 1).helped, manifest(earlier, 2).moved) == (10, {"k1": 10})
    assert (manifest(run, 1).helped, manifest(run, 2).moved) == (4, {"k1": 4})


def test_workers_help_nobody_if_redistribution_is_off(tmp_path: Path) -> None:
    with running_simulator(speed=60, latency_s=1.0, **SLOW_SECOND_KEY) as sim:
        run, config = planned(tmp_path, sim, 24, keys(2), **SINGLE, redistribute=False)
        generate_run(run, keys(2), config)
        assert sim.stats()["projects"]["p2"]["answered"] == 12
    check_rows(run, 24)
    assert (manifest(run, 1).moved, manifest(run, 2).moved) == ({}, {})


def test_work_moves_without_a_change_of_the_plan(tmp_path: Path) -> None:
    shared, project = keys(2, project="p"), {"secret-1": "p", "secret-2": "p"}
    with running_simulator(speed=600, latency_s=1.0, quota={"rpd": 6}, projects=project) as sim:
        run, config = planned(tmp_path, sim, 20, shared, **SINGLE)
        before = read_plan(run)
        with pytest.raises(IncompleteError):
            generate_run(run, shared, config)
    assert read_plan(run) == before
    with GenerationJournal(run.journal) as journal:
        missing = missing_work_items(run, before, journal)
    for number, items in missing.items():
        assert {item.chunk_id for item in items} <= set(before.shard(number).chunk_ids)
    assert sum(map(len, missing.values())) == 14


# ---- two processes


def start(run: RunFolder, sim: RunningSimulator, shard: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "GEMINI_API_KEYS": "secret-1,secret-2",
        "GEMINI_QUOTA_WINDOW_S": str(sim.window_s),
        "GEMINI_BASE_URL": sim.url,
    }
    argv = [sys.executable, "-m", "insurance_rag", "generate", "--run", str(run.root), "--shard", str(shard)]
    return subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def wait_for_answers(run: RunFolder, shard: int, n: int) -> None:
    """Wait until the worker of a shard has answered this number of chunks."""
    deadline = time.monotonic() + 30
    while read_rate_limit_state(run.rate_limit_log).usage_counts.get(shard, Counter())["chunks"] < n:
        assert time.monotonic() < deadline, f"shard {shard} answered fewer than {n} chunks in 30 s"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("chunks_per_call", [pytest.param(1, marks=pytest.mark.long), 4])
def test_after_kill_9_of_one_of_two_workers_the_other_finishes_the_run(tmp_path: Path, chunks_per_call: int) -> None:
    named = [key.model_copy(update={"id": f"gemini_{key.id}"}) for key in keys(2)]
    n = 30 * chunks_per_call
    with running_simulator(speed=20, latency_s=1.5, quota={"rpm": 10}, defects=0) as sim:
        # The calls of the killed worker count as in flight until their timeout, which delays the search for the quota.
        run, _ = planned(tmp_path, sim, n, named, chunks_per_call=chunks_per_call, timeout_s=sim.window_s)
        first, second = start(run, sim, 1), start(run, sim, 2)
        wait_for_answers(run, 1, 4)
        wait_for_answers(run, 2, 4)
        second.send_signal(signal.SIGKILL)
        second.wait()
        sent = read_rate_limit_state(run.rate_limit_log).in_flight.values()
        in_flight = sum(call.chunks for call in sent if call.shard == 2)
        assert first.wait(timeout=60) == 0
        stats = sim.stats()
    check_rows(run, n)
    assert manifest(run, 2).moved.keys() == {"gemini_k1"}
    assert stats["repeated_answers"] <= in_flight


@pytest.mark.slow
def test_two_processes_request_no_chunk_twice(tmp_path: Path) -> None:
    named = [key.model_copy(update={"id": f"gemini_{key.id}"}) for key in keys(2)]
    with running_simulator(speed=60, latency_s=1.0, defects=0.3, **SLOW_SECOND_KEY) as sim:
        run, _ = planned(tmp_path, sim, 80, named)
        workers = [start(run, sim, shard) for shard in (1, 2)]
        assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
        stats = sim.stats()
    check_rows(run, 80)
    assert stats["repeated_answers"] == 0
