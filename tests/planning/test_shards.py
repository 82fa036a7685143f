from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import ApiKey
from insurance_rag.planning.shards import check_partition, make_shards, quota_shares, slice_sizes


def key(name: str, **facts: object) -> ApiKey:
    return ApiKey.model_validate({"id": name, "key": f"secret of {name}", **facts})


def test_keys_of_one_project_divide_its_share_if_no_quota_is_configured() -> None:
    assert quota_shares([key("a", project="p"), key("b", project="p"), key("c")]) == [0.5, 0.5, 1]


def test_tokens_count_if_not_every_key_configures_requests() -> None:
    assert quota_shares([key("a", tpm=100, rpm=5), key("b", tpm=300)]) == [100, 300]


@given(st.integers(0, 5000), st.lists(st.integers(1, 2000), min_size=1, max_size=30))
def test_slices_have_every_item_and_follow_the_rates(n: int, rates: list[int]) -> None:
    sizes = slice_sizes(n, rates)
    assert sum(sizes) == n
    assert all(size >= 0 for size in sizes)
    if len(set(rates)) > 1:
        assert all(abs(size - n * rate / sum(rates)) < 1 for size, rate in zip(sizes, rates, strict=True))


def test_shards_are_numbered_from_the_first_number() -> None:
    keys = [key("k1"), key("k2", project="p"), key("k3", project="p")]
    shards = make_shards(["a", "b", "c", "d"], keys, first_number=4)
    assert [(s.shard, s.of, s.key_id, s.share) for s in shards] == [
        (4, 6, "k1", 1),
        (5, 6, "k2", 0.5),
        (6, 6, "k3", 0.5),
    ]
    assert [s.chunk_ids for s in shards] == [["a", "b"], ["c"], ["d"]]


def test_the_partition_check_lists_what_is_wrong() -> None:
    shards = make_shards(["c1", "c2", "c3", "c4"], [key("k1"), key("k2")])
    with pytest.raises(InvalidInputError) as e:
        check_partition(["c1", "c2", "c3", "new"], [*shards, shards[0]])
    text = str(e.value)
    for part in ("'new' is in no shard", "'c4' is in a shard but not in the chunk file", "'c1' is in 2 shards"):
        assert part in text
    assert check_partition(["c4", "c3", "c2", "c1"], shards).each_in_exactly_one_shard
