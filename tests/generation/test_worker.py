from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.generation.runs import answered, chunks, journal_keys, keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import (
    BudgetExceededError,
    IncompleteError,
    InvalidInputError,
    KeyRejectedError,
    QuotaExhaustedError,
)
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.locks import held
from insurance_rag.core.records import QAPair
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
FAST = {"speed": 600, "latency_s": 1.0}


def test_a_shard_is_answered_and_written(tmp_path: Path) -> None:
    updates: list[dict] = []
    with running_simulator(**FAST, defects=0) as sim:
        run, config = planned(tmp_path, sim, 25, keys(2))
        part = generate_shard(run, 1, keys(2)[0], config, on_update=updates.append)
        calls = sim.stats()["calls"]
    assert part["chunks"] == 13
    assert part["calls"] == calls
    assert part["uri"] == str(run.part(1).resolve())
    assert part["sha256"] == sha256_file(run.part(1))
    pairs = [QAPair.model_validate(row) for row in rows(run)]
    assert len(pairs) == part["rows"]
    assert {p.type for p in pairs} == {"fact", "scenario", "easy"}
    assert {p.chunk_id for p in pairs} == {f"c{i:05}" for i in range(1, 14)}
    one = pairs[0]
    assert one.input.startswith("제1조(입원보험금)\n①")
    assert one.evidence in one.input
    assert one.meta["prompt_version"].startswith("qa_v1@")
    assert (one.meta["shard"], one.meta["key_id"], one.meta["model"]) == (1, "k1", config.model)
    manifest = json.loads(manifest_path(run.part(1)).read_text())
    assert manifest["tokens_in"] > 0
    assert manifest["cost_usd"] > 0
    assert updates[-1]["done"] == 13
    assert list(missing_chunks(run)) == ["shard 2/2 · k2"]


def test_the_same_call_again_asks_for_nothing(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 8, keys(1))
        first = generate_shard(run, 1, keys(1)[0], config)
        again = generate_shard(run, 1, keys(1)[0], config)
        assert sim.stats()["calls"] == 8
    assert again["sha256"] == first["sha256"]


def test_faults_of_every_kind_cost_calls_and_no_chunk(tmp_path: Path) -> None:
    with running_simulator(**FAST, faults=FAULTS | {"fenced": 0.2}, seed=1) as sim:
        run, config = planned(tmp_path, sim, 60, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
        stats = sim.stats()
    assert stats["distinct_answered"] == 60
    assert part["faults"] > 5
    assert part["quarantined"] == 0
    assert part["calls"] == stats["calls"]
    assert max(answered(run).values()) == 1


def test_a_blocked_clause_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    with running_simulator(**FAST, faults={"blocked": 0.3}, seed=2) as sim:
        run, config = planned(tmp_path, sim, 30, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
        calls = sim.stats()["calls"]
        assert generate_shard(run, 1, keys(1)[0], config)["quarantined"] == part["quarantined"]
        assert sim.stats()["calls"] == calls
    assert 0 < part["quarantined"] < 30
    aside = json.loads(manifest_path(run.part(1)).read_text())["quarantined"]
    assert {record["reason"] for record in aside} == {"blocked"}
    assert "blocked: " in aside[0]["detail"]
    assert missing_chunks(run) == {}


def test_an_answer_that_stays_unreadable_is_set_aside(tmp_path: Path) -> None:
    with running_simulator(**FAST, faults={"malformed": 1.0}) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1), max_retries=2)
        part = generate_shard(run, 1, keys(1)[0], config)
        assert sim.stats()["calls"] == 6
    assert part["rows"] == 0
    assert json.loads(manifest_path(run.part(1)).read_text())["quarantined"][0]["reason"] == "unreadable"
    assert part["tokens_out"] > 0  # paid nevertheless


@pytest.mark.parametrize("state", ["invalid", "leaked", "suspended", "disabled"])
def test_a_dead_key_ends_its_shard_after_two_requests(tmp_path: Path, state: str) -> None:
    with running_simulator(**FAST, key_states={"secret-1": state}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        with pytest.raises(KeyRejectedError, match=r"20 of 20 chunks missing.*replace the key"):
            generate_shard(run, 1, keys(1)[0], config)
        assert sim.stats()["calls"] <= 2
    assert not manifest_path(run.part(1)).exists()


def test_a_model_without_quota_is_not_waited_for(tmp_path: Path) -> None:
    with running_simulator(**FAST, quota={"rpm": 0}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        with pytest.raises(KeyRejectedError, match="limit: 0"):
            generate_shard(run, 1, keys(1)[0], config)
        assert sim.stats()["calls"] <= 2


def test_a_used_up_day_parks_the_shard(tmp_path: Path) -> None:
    with running_simulator(**FAST, quota={"rpd": 12}) as sim:
        run, config = planned(tmp_path, sim, 40, keys(1))
        with pytest.raises(QuotaExhaustedError, match=r"28 of 40 chunks missing.*it returns at \d{4}") as e:
            generate_shard(run, 1, keys(1)[0], config)
        assert e.value.resets_at is not None
        with pytest.raises(QuotaExhaustedError):
            generate_shard(run, 1, keys(1)[0], config)
    assert len(journal_keys(run)) == 12
    assert len({row["chunk_id"] for row in rows(run)}) == 12


def test_a_429_without_details_is_waited_out(tmp_path: Path) -> None:
    with running_simulator(speed=60, quota={"rpm": 10}, faults={"bare_429": 1}) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
    assert part["requests_429"] > 0
    assert part["quarantined"] == 0


def test_an_outage_is_waited_for_and_a_dead_server_is_not(tmp_path: Path) -> None:
    with running_simulator(speed=120, latency_s=0.5, outages=[(8, 60)]) as sim:
        run, config = planned(tmp_path / "a", sim, 60, keys(1), max_retries=1)
        assert generate_shard(run, 1, keys(1)[0], config)["quarantined"] == 0
        run, config = planned(tmp_path / "b", sim, 3, keys(1), max_retries=1)
    with pytest.raises(IncompleteError, match=r"no answer for .*ConnectError .*same command resumes"):
        generate_shard(run, 1, keys(1)[0], config)


def test_the_budget_stops_the_run_cleanly(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 40, keys(1), budget_usd=0.01, max_in_flight=2)
        with pytest.raises(BudgetExceededError, match=r"raise the budget, then resume"):
            generate_shard(run, 1, keys(1)[0], config)
        done = len(journal_keys(run))
        assert 0 < done < 40
        generate_shard(run, 1, keys(1)[0], config.model_copy(update={"budget_usd": None}))
        assert sim.stats()["calls"] == 40


def test_two_workers_on_one_shard(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1))
        with held(run.lock(1), "shard 1/1 · k1"), pytest.raises(IncompleteError, match="being worked on by"):
            generate_shard(run, 1, keys(1)[0], config)
        assert sim.stats()["calls"] == 0


def test_an_input_that_changed_under_the_plan(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1))
        run.chunks.write_text(run.chunks.read_text().replace("지급", "환급"))
        with pytest.raises(InvalidInputError, match="plan again"):
            generate_shard(run, 1, keys(1)[0], config)


def test_a_model_that_does_not_exist_is_wrong_input(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1), base_url=sim.url + "/nowhere")
        with pytest.raises(InvalidInputError, match="check --model and --base-url"):
            generate_shard(run, 1, keys(1)[0], config)
    assert journal_keys(run) == []


def test_clauses_of_the_same_content_are_asked_for_once(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1))
        twins = [chunks(1)[0], chunks(1)[0].model_copy(update={"chunk_id": "twin"})]
        write_plan(make_plan(twins, keys(1), config), run, twins)
        part = generate_shard(run, 1, keys(1)[0], config)
        assert sim.stats()["calls"] == 1
    assert {row["chunk_id"] for row in rows(run)} == {"c00001", "twin"}
    assert part["chunks"] == 2
