from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.generation.runs import answered, chunks, journal_keys, keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import IncompleteError, InvalidInputError, QuotaExhaustedError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import ApiKey
from insurance_rag.generation import generate_run, generate_shard, missing_chunks, write_open_parts
from insurance_rag.planning import plan_redistributed, read_plan, reuse_answers
from insurance_rag.planning.plan import prove

FAST = {"speed": 600, "latency_s": 1.0}


def test_every_shard_is_answered_by_its_own_key(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 30, keys(3))
        result = generate_run(run, keys(3), config)
        stats = sim.stats()
    assert (result["chunks"], result["calls"], stats["repeated_answers"]) == (30, 30, 0)
    assert [part["chunks"] for part in result["parts"]] == [10, 10, 10]
    assert sorted(key["calls"] for key in stats["keys"].values()) == [10, 10, 10]
    assert result["rows"] == len(rows(run))
    books = read_json(run.usage)
    assert books["total"]["calls"] == 30
    assert books["keys"]["k2"]["calls"] == 10
    assert {read_json(path)["state"] for path in run.progress.iterdir()} == {"done"}


def test_what_a_dead_key_left_over_moves_to_the_healthy(tmp_path: Path) -> None:
    with running_simulator(**FAST, key_states={"secret-2": "leaked"}) as sim:
        run, config = planned(tmp_path, sim, 31, keys(3))
        result = generate_run(run, keys(3), config)
        stats = sim.stats()
    assert min(key["calls"] for key in stats["keys"].values()) <= 2
    assert missing_chunks(run) == {}
    plan = read_plan(run)
    prove([chunk.chunk_id for chunk in chunks(31)], plan.shards)
    assert plan.moved == {2: [4, 5]}
    assert [s.label for s in plan.shards[3:]] == ["shard 4/5 · k1", "shard 5/5 · k3"]
    assert {row["chunk_id"] for row in rows(run)} == {chunk.chunk_id for chunk in chunks(31)}
    assert set(answered(run).values()) == {1}
    assert sum(part["rows"] for part in result["parts"]) == len(rows(run))
    assert manifest_path(run.part(2)).exists()  # of the dead shard, in which nothing is left


def test_nothing_is_moved_from_a_shard_that_can_go_on(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 8, keys(2))
        assert plan_redistributed(run, keys(2)) == []
        generate_shard(run, 1, keys(2)[0], config)
        assert plan_redistributed(run, keys(2)) == []
        assert plan_redistributed(run, []) == []


def test_extra_shards_that_did_not_finish_are_named_again(tmp_path: Path) -> None:
    with running_simulator(**FAST, key_states={"secret-1": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 9, keys(2), redistribute=False)
        with pytest.raises(IncompleteError, match=r"shard 1/2 · k1: 5 chunks"):
            generate_run(run, keys(2), config)
        first = plan_redistributed(run, keys(2))
        assert [s.shard for s in first] == [3]
        assert plan_redistributed(run, keys(2)) == first
        generate_shard(run, 3, keys(2)[1], config)
        assert plan_redistributed(run, keys(2)) == []
        assert generate_shard(run, 1, keys(2)[0], config)["chunks"] == 0


def test_with_no_key_left_the_run_says_when_the_quota_returns(tmp_path: Path) -> None:
    with running_simulator(**FAST, quota={"rpd": 5}, key_states={"secret-2": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(2))
        with pytest.raises(
            QuotaExhaustedError, match=r"incomplete: 15 chunks are missing[\s\S]*it returns at \d{4}"
        ) as e:
            generate_run(run, keys(2), config)
        assert e.value.resets_at is not None
        assert sum(stats["calls"] for stats in sim.stats()["keys"].values()) <= 5 + 8 + 2
    assert sum(map(len, missing_chunks(run).values())) == 15
    assert len(journal_keys(run)) == 5


def test_keys_of_one_project_share_its_window(tmp_path: Path) -> None:
    shared = keys(4, project="p")
    projects = {f"secret-{i}": "p" for i in range(1, 5)}
    with running_simulator(speed=30, latency_s=1.0, quota={"rpm": 30}, projects=projects) as sim:
        run, config = planned(tmp_path, sim, 80, shared)
        result = generate_run(run, shared, config)
        stats = sim.stats()
    assert stats["peak_requests_per_minute"] <= 30
    assert result["requests_429"] < 20
    assert (
        stats["last_answer_s"] - stats["first_s"] < 1.6 * 121
    )  # the figure itself is the benchmark's; this machine may be busy


def test_a_key_of_the_plan_that_is_not_there(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 8, keys(3))
        with pytest.raises(InvalidInputError, match=r"key 'k3' of the plan is not among the keys \(k1, k2\)"):
            generate_run(run, keys(2), config)
        assert sim.stats()["calls"] == 0


def test_a_new_plan_finds_the_answers_of_the_old_one(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 12, keys(3))
        generate_run(run, keys(3), config)
        planned(tmp_path, sim, 12, keys(2))
        assert generate_run(run, keys(2), config)["rows"] == len(rows(run))
        assert sim.stats()["calls"] == 12
    assert set(answered(run).values()) == {1}
    assert not run.part(3).exists()


def test_other_settings_ask_anew(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1))
        generate_run(run, keys(1), config)
        generate_shard(run, 1, keys(1)[0], config.model_copy(update={"types": ("fact",)}))
        assert sim.stats()["calls"] == 8
    assert {row["type"] for row in rows(run)} == {"fact"}


def test_a_mended_key_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with running_simulator(**FAST, key_states={"secret-1": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 6, keys(1))
        with pytest.raises(IncompleteError):
            generate_run(run, keys(1), config)
        repaired = [ApiKey.model_validate({"id": "k1", "key": "fresh"})]
        assert generate_run(run, repaired, config)["chunks"] == 6
    assert json.loads(run.usage.read_text())["total"]["answers"] == 6


def test_keys_that_die_one_after_the_other_end_the_run(tmp_path: Path) -> None:
    """A key that was dead is not taken for a healthy one because its shard was opened again."""
    with running_simulator(**FAST, quotas={"p1": {"rpd": 9}}, projects={"secret-1": "p1"},
                           key_states={"secret-2": "invalid"}) as sim:  # fmt: skip
        run, config = planned(tmp_path, sim, 14, keys(2))
        with pytest.raises(QuotaExhaustedError, match="5 chunks are missing"):
            generate_run(run, keys(2), config)
        assert sim.stats()["calls"] <= 14 + 4
    assert len(read_plan(run).shards) <= 4


def test_a_dead_shards_rows_are_in_its_part_though_it_answered_nothing(tmp_path: Path) -> None:
    """Its clauses that an earlier run answered count as answered, so they must be in the dataset."""
    with running_simulator(**FAST) as sim:
        first, config = planned(tmp_path / "1", sim, 9, keys(3))
        generate_run(first, keys(3), config)
    with running_simulator(**FAST, key_states={"secret-2": "invalid"}) as sim:
        run, config = planned(tmp_path / "2", sim, 10, keys(3), redistribute=False)
        reuse_answers(run, [first])
        for number in (1, 3):
            generate_shard(run, number, keys(3)[number - 1], config)
        assert not run.part(2).exists()
        write_open_parts(run, read_plan(run))
    assert {row["chunk_id"] for row in rows(run)} == {chunk.chunk_id for chunk in chunks(10)}
    assert not manifest_path(run.part(2)).exists()
