"""The OpenAI-compatible teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.generation.runs import chunks, keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError, KeyRejectedError, QuotaExhaustedError, RateLimitError
from insurance_rag.core.records import ApiKey
from insurance_rag.generation import generate_shard
from insurance_rag.generation.teachers.openai import OpenAITeacher
from insurance_rag.generation.teachers.registry import make_teacher
from insurance_rag.llm.client import Response
from insurance_rag.llm.openai import read_error
from insurance_rag.planning.prompt_spec import PromptSpec

CONFIG = GenerationConfig(teacher="openai", base_url="http://127.0.0.1:9/v1/")


@pytest.mark.parametrize(("suffix", "chunks_per_call"), [("", "auto"), ("/v1", 4), ("/v1/", 1)])
def test_shard_is_answered_by_an_openai_compatible_server(
    tmp_path: Path, suffix: str, chunks_per_call: int | str
) -> None:
    """Without a known quota, `auto` sends single chunks, because such a server normally has no quota."""
    with running_simulator(speed=600, faults={"503": 0.1, "malformed": 0.1, "max_tokens": 0.1}) as sim:
        run, config = planned(tmp_path, sim, 12, keys(1), teacher="openai", base_url=sim.url + suffix, model="qwen",
                              questions={"near_miss_share": 0}, chunks_per_call=chunks_per_call)  # fmt: skip
        part = generate_shard(run, 1, keys(1)[0], config)
        assert (sim.stats()["mean_chunks_per_call"] > 1) == (chunks_per_call == 4)
    assert part.chunks == 12
    assert part.quarantined == 0
    assert {row.chunk_id for row in rows(run)} == {chunk.chunk_id for chunk in chunks(12)}
    assert {row.meta["teacher"] for row in rows(run)} == {"openai"}
    assert {row.type for row in rows(run)} == {"fact", "scenario", "easy"}


def test_rejected_key(tmp_path: Path) -> None:
    with running_simulator(speed=600, key_states={"secret-1": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1), teacher="openai")
        with pytest.raises(KeyRejectedError):
            generate_shard(run, 1, keys(1)[0], config)


def test_429s_by_header_and_code() -> None:
    teacher = make_teacher(CONFIG, keys(1)[0])
    assert isinstance(teacher, OpenAITeacher)
    limited = read_error(teacher.client, Response(429, {"error": {"message": "slow"}}, {"retry-after": "7.5"}))
    assert isinstance(limited, RateLimitError)
    assert limited.retry_after_s == 7.5
    bare = read_error(teacher.client, Response(429, None))
    assert isinstance(bare, RateLimitError)
    assert bare.retry_after_s is None
    exhausted = read_error(teacher.client, Response(429, {"error": {"code": "insufficient_quota"}}))
    assert isinstance(exhausted, QuotaExhaustedError)


def test_server_of_ones_own_needs_an_address_but_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    no_key = ApiKey.model_validate({"id": "openai", "key": ""})
    config = CONFIG.model_copy(update={"base_url": None})
    with pytest.raises(InvalidInputError, match="set --base-url or OPENAI_BASE_URL"):
        OpenAITeacher(config, no_key, PromptSpec.from_config(config))
    assert "authorization" not in OpenAITeacher(CONFIG, no_key, PromptSpec.from_config(CONFIG)).client.headers
