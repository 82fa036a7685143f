from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.chunks import ChunkDiff, diff_chunks
from insurance_rag.core.records import Chunk

META = {"source": "s", "company": "c", "breadcrumbs": "b", "token_count": 1, "policy_type": "p"}


def chunks(texts: dict[str, str]) -> list[Chunk]:
    return [Chunk.model_validate({"chunk_id": i, "text": t, "metadata": META}) for i, t in texts.items()]


def test_each_kind_of_change() -> None:
    difference = diff_chunks(chunks({"a": "1", "b": "2", "c": "3"}), chunks({"d": "4", "b": "2!", "c": "3"}))
    assert difference == ChunkDiff(added=["d"], changed=["b"], removed=["a"], unchanged=["c"])


TEXTS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2"]))


@given(TEXTS, TEXTS)
def test_every_chunk_has_exactly_one_kind(old: dict[str, str], new: dict[str, str]) -> None:
    difference = diff_chunks(chunks(old), chunks(new))
    assert sorted(difference.added + difference.changed + difference.unchanged) == sorted(new)
    assert sorted(difference.removed + difference.changed + difference.unchanged) == sorted(old)
