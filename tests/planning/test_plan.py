from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import ApiKey
from insurance_rag.planning.plan import adopt, make_plan, prove, quota_shares, read_plan, slice_sizes, write_plan

CONFIG = GenerationConfig()


def key(name: str, **facts: object) -> ApiKey:
    return ApiKey.model_validate({"id": name, "key": f"secret of {name}", **facts})


def test_equal_keys_get_contiguous_slices_of_the_ceiling(make_chunks, make_keys) -> None:
    plan = make_plan(make_chunks(1800), make_keys(7), CONFIG)
    assert [len(s.chunk_ids) for s in plan.shards] == [258] * 6 + [252]
    assert [i for s in plan.shards for i in s.chunk_ids] == [c.chunk_id for c in make_chunks(1800)]
    assert plan.shards[2].label == "shard 3/7 · k3"
    assert plan.proof["each_in_exactly_one_shard"] is True


def test_slices_follow_the_quota_of_the_projects(make_chunks) -> None:
    keys = [key("a", project="p", rpm=60), key("b", project="p", rpm=60), key("c", rpm=90)]
    plan = make_plan(make_chunks(150), keys, CONFIG)
    assert [len(s.chunk_ids) for s in plan.shards] == [30, 30, 90]
    assert [s.share for s in plan.shards] == [0.5, 0.5, 1.0]
    assert plan.pools == {"p": ["a", "b"], "c": ["c"]}


def test_keys_of_one_project_weigh_less_where_no_quota_is_told() -> None:
    assert quota_shares([key("a", project="p"), key("b", project="p"), key("c")]) == [0.5, 0.5, 1]


def test_tokens_count_where_requests_are_not_told_of_every_key() -> None:
    assert quota_shares([key("a", tpm=100, rpm=5), key("b", tpm=300)]) == [100, 300]


def test_fewer_chunks_than_keys_make_fewer_shards(make_chunks, make_keys) -> None:
    assert [len(s.chunk_ids) for s in make_plan(make_chunks(3), make_keys(7), CONFIG).shards] == [1, 1, 1]


@given(st.integers(0, 5000), st.lists(st.integers(1, 2000), min_size=1, max_size=30))
def test_slices_leave_nothing_out(n: int, rates: list[int]) -> None:
    sizes = slice_sizes(n, rates)
    assert sum(sizes) == n
    assert all(size >= 0 for size in sizes)
    if len(set(rates)) > 1:
        assert all(abs(size - n * rate / sum(rates)) < 1 for size, rate in zip(sizes, rates, strict=True))


def test_the_proof_names_what_is_wrong(make_chunks, make_keys) -> None:
    shards = make_plan(make_chunks(4), make_keys(2), CONFIG).shards
    with pytest.raises(InvalidInputError) as e:
        prove(["c00001", "c00002", "c00003", "new"], [*shards, shards[0]])
    text = str(e.value)
    for part in ("'new' is in no shard", "'c00004' is in a shard and not in the input", "'c00001' is in 2 shards"):
        assert part in text


def test_the_same_input_gives_the_same_plan_and_other_input_another(make_chunks, make_keys) -> None:
    def plan_id(chunks, config=CONFIG):
        return make_plan(chunks, make_keys(3), config).plan_id

    chunks = make_chunks(9)
    other = [*chunks[:-1], chunks[-1].model_copy(update={"text": "제9조 바뀐 조항입니다."})]
    assert plan_id(chunks) == plan_id(make_chunks(9))
    assert len({plan_id(chunks), plan_id(other), plan_id(chunks, GenerationConfig(model="other"))}) == 3


def test_a_plan_is_read_as_it_was_written(run, make_chunks, make_keys) -> None:
    plan = write_plan(make_plan(make_chunks(20), make_keys(3), CONFIG), run, make_chunks(20))
    assert read_plan(run) == plan
    assert "secret" not in run.plan.read_text()


def test_planning_again_keeps_what_was_moved_and_drops_parts_of_another_plan(run, make_chunks, make_keys) -> None:
    chunks = make_chunks(20)
    plan = write_plan(make_plan(chunks, make_keys(3), CONFIG), run, chunks)
    run.parts.mkdir()
    run.part(1).write_text("[]")
    moved = plan.model_copy(update={"moved": {1: [4]}})
    run.plan.write_text(moved.model_dump_json())
    assert write_plan(plan, run, chunks).moved == {1: [4]}
    assert run.part(1).exists()
    write_plan(make_plan(chunks, make_keys(2), CONFIG), run, chunks)
    assert not run.part(1).exists()


def test_a_plan_that_was_tampered_with_is_refused(run, make_chunks, make_keys) -> None:
    write_plan(make_plan(make_chunks(6), make_keys(2), CONFIG), run, make_chunks(6))
    plan = json.loads(run.plan.read_text())
    plan["shards"][0]["chunk_ids"].append(plan["shards"][1]["chunk_ids"][0])
    run.plan.write_text(json.dumps(plan))
    with pytest.raises(InvalidInputError, match="exactly one shard"):
        read_plan(run)


def test_no_plan_says_how_to_make_one(run) -> None:
    with pytest.raises(InvalidInputError, match="plan --chunks"):
        read_plan(run)


def test_unknown_shard_and_no_keys(make_chunks, make_keys) -> None:
    with pytest.raises(InvalidInputError, match="it has 1 to 2"):
        make_plan(make_chunks(4), make_keys(2), CONFIG).shard(3)
    with pytest.raises(InvalidInputError, match="no API keys"):
        make_plan(make_chunks(4), [], CONFIG)


def test_changed_settings_keep_the_shards(run, make_chunks, make_keys) -> None:
    plan = write_plan(make_plan(make_chunks(6), make_keys(2), CONFIG), run, make_chunks(6))
    assert adopt(plan, plan.config, run) is plan
    assert adopt(plan, GenerationConfig(model="other"), run).shards == plan.shards
    assert read_plan(run).config.model == "other"


def test_a_hundred_thousand_chunks_are_planned_in_under_five_seconds(run, make_chunks, make_keys) -> None:
    chunks = make_chunks(100_000)
    began = time.process_time()
    write_plan(make_plan(chunks, make_keys(7), CONFIG), run, chunks)
    assert time.process_time() - began < 5
