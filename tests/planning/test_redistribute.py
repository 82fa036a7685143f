from __future__ import annotations

import time

import pytest
from tests.planning.conftest import MakeChunks, MakeKeys
from tests.planning.records import answer

from insurance_rag.config import GenerationConfig
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.records import ApiKey
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import make_plan, plan_redistributed, read_plan, write_plan
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.shards import check_partition
from insurance_rag.planning.work_items import read_work_items
from insurance_rag.rate_limit.event_log import RateLimitLog
from insurance_rag.rate_limit.events import CallSent, DailyQuotaExhausted, KeyRejected, ShardStarted
from insurance_rag.rate_limit.state import RateLimitState

CONFIG = GenerationConfig()


@pytest.fixture
def keys(make_keys: MakeKeys) -> list[ApiKey]:
    return make_keys(3)


@pytest.fixture
def plan(run: RunFolder, keys: list[ApiKey], make_chunks: MakeChunks) -> Plan:
    return write_plan(make_plan(make_chunks(30), keys, CONFIG), run, make_chunks(30))


def end_key(run: RunFolder, key: str, *, rejected: bool = True) -> None:
    """Record that the key was rejected, or that its daily quota is used up."""
    log = RateLimitLog(run.rate_limit_log, RateLimitState())
    now = time.time()
    with log.locked():
        log.write(ShardStarted(at=now, shard=2, key=key, pool=key, share=1.0, quota_unshared=True))
        log.write(CallSent(at=now, call="a", shard=2, key=key, pool=key, chars=1))
        if rejected:
            log.write(KeyRejected(at=now, call="a", reason="API_KEY_INVALID"))
        else:
            log.write(DailyQuotaExhausted(at=now, call="a", until=now + 3600))
    log.close()


@pytest.mark.parametrize("rejected", [True, False])
def test_open_chunks_of_a_dead_key_move_to_the_healthy_keys(
    run: RunFolder, plan: Plan, keys: list[ApiKey], rejected: bool
) -> None:
    end_key(run, "k2", rejected=rejected)
    items = list(read_work_items(run, PromptSpec.from_config(CONFIG), plan.shard(2).chunk_ids))
    with GenerationJournal(run.journal, 2) as journal:
        for item in items[:4]:
            journal.append(item.cache_key, answer(item.chunk_id))
    new = plan_redistributed(run, keys)
    changed = read_plan(run)
    assert [(s.shard, s.key_id, len(s.chunk_ids)) for s in new] == [(4, "k1", 3), (5, "k3", 3)]
    assert changed.reassigned_to == {2: [4, 5]}
    assert changed.shard(2).chunk_ids == [item.chunk_id for item in items[:4]]
    check_partition([i for shard in plan.shards for i in shard.chunk_ids], changed.shards)
    assert plan_redistributed(run, keys) == new  # they still have open chunks
    assert read_plan(run) == changed


def test_nothing_moves_if_no_key_is_dead(run: RunFolder, plan: Plan, keys: list[ApiKey]) -> None:
    assert plan_redistributed(run, keys) == []
    assert read_plan(run) == plan


def test_nothing_moves_without_a_healthy_key(run: RunFolder, plan: Plan, keys: list[ApiKey]) -> None:
    end_key(run, "k2")
    assert plan_redistributed(run, keys[1:2]) == []
    assert read_plan(run) == plan


def test_a_shard_that_a_process_works_on_keeps_its_chunks(run: RunFolder, plan: Plan, keys: list[ApiKey]) -> None:
    end_key(run, "k2")
    with hold_lock(run.lock(2), "shard 2"):
        assert plan_redistributed(run, keys) == []
    assert len(plan_redistributed(run, keys)) == 2
