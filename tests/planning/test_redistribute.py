from __future__ import annotations

import time
from contextlib import closing

import pytest
from tests.planning.conftest import MakeChunks, MakeKeys
from tests.planning.records import answer

from insurance_rag.config import GenerationConfig
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import make_plan, plan_redistributed, read_plan, write_plan
from insurance_rag.planning.claims import ClaimLog
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan, save_plan
from insurance_rag.planning.prompt_spec import PromptSpec
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


def answer_shard(run: RunFolder, plan: Plan, number: int, n: int | None = None) -> None:
    """Record answers for the first `n` chunks of a shard, or for all of them."""
    items = list(read_work_items(run, PromptSpec.from_config(CONFIG), plan.shard(number).chunk_ids))
    with GenerationJournal(run.journal, number) as journal:
        for item in items[:n]:
            journal.append(item.cache_key, answer(item.chunk_id))


def numbers(shards: list[Shard]) -> list[int]:
    return [shard.shard for shard in shards]


@pytest.mark.parametrize("rejected", [True, False])
def test_the_shards_of_healthy_keys_run_again_for_the_chunks_of_a_dead_key(
    run: RunFolder, plan: Plan, keys: list[ApiKey], rejected: bool
) -> None:
    end_key(run, "k2", rejected=rejected)
    for number, n in ((1, None), (2, 4), (3, None)):
        answer_shard(run, plan, number, n)
    assert numbers(plan_redistributed(run, keys)) == [1, 3]
    assert numbers(plan_redistributed(run, keys)) == [1, 3]  # the chunks are still missing
    assert read_plan(run) == plan
    with closing(ClaimLog(run, 1, 60.0)) as claims:
        assert 2 in claims.started_shards, "the workers of shards 1 and 3 may answer the chunks of shard 2"
    answer_shard(run, plan, 2)
    assert plan_redistributed(run, keys) == []


def test_shards_that_were_never_started_are_opened_to_the_other_workers(
    run: RunFolder, plan: Plan, keys: list[ApiKey]
) -> None:
    assert numbers(plan_redistributed(run, keys[:1])) == [1]
    with closing(ClaimLog(run, 1, 60.0)) as claims:
        assert set(claims.started_shards) == {1, 2, 3}


def test_a_key_with_several_shards_is_used_once(run: RunFolder, plan: Plan, keys: list[ApiKey]) -> None:
    shards = [shard.model_copy(update={"key_id": "k1"}) for shard in plan.shards]
    save_plan(plan.model_copy(update={"shards": shards}), run)
    assert numbers(plan_redistributed(run, keys)) == [1]


def test_no_shard_runs_again_if_nothing_is_missing(run: RunFolder, plan: Plan, keys: list[ApiKey]) -> None:
    for shard in plan.shards:
        answer_shard(run, plan, shard.shard)
    end_key(run, "k2")
    assert plan_redistributed(run, keys) == []
    assert not run.claims.exists()


def test_no_shard_runs_again_without_a_healthy_key(run: RunFolder, plan: Plan, keys: list[ApiKey]) -> None:
    end_key(run, "k2")
    assert plan_redistributed(run, keys[1:2]) == []
    assert plan_redistributed(run, []) == []
    assert read_plan(run) == plan


def test_a_shard_that_a_process_works_on_is_left_to_it(run: RunFolder, plan: Plan, keys: list[ApiKey]) -> None:
    end_key(run, "k2")
    for number in (1, 3):
        answer_shard(run, plan, number)
    with hold_lock(run.lock(2), "shard 2"):
        assert plan_redistributed(run, keys) == []
    with hold_lock(run.lock(1), "shard 1"):
        assert numbers(plan_redistributed(run, keys)) == [3]
    assert numbers(plan_redistributed(run, keys)) == [1, 3]
