from __future__ import annotations

from pathlib import Path

import pytest
from tests.generation.runs import keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError, KeyRejectedError, QuotaExhaustedError
from insurance_rag.core.records import ApiKey
from insurance_rag.generation import generate_shard
from insurance_rag.generation.teachers.base import Refusal, make_teacher
from insurance_rag.generation.teachers.openai import OpenAITeacher
from insurance_rag.planning.prompt_spec import PromptSpec

CONFIG = GenerationConfig(teacher="openai", base_url="http://127.0.0.1:9/v1/")


@pytest.mark.parametrize("suffix", ["", "/v1", "/v1/"])
def test_a_shard_is_answered_by_an_openai_compatible_server(tmp_path: Path, suffix: str) -> None:
    with running_simulator(speed=600, faults={"503": 0.1, "malformed": 0.1, "max_tokens": 0.1}) as sim:
        run, config = planned(tmp_path, sim, 12, keys(1), teacher="openai", base_url=sim.url + suffix, model="qwen")
        part = generate_shard(run, 1, keys(1)[0], config)
    assert part["chunks"] == 12
    assert part["quarantined"] == 0
    assert {row["meta"]["teacher"] for row in rows(run)} == {"openai"}
    assert {row["type"] for row in rows(run)} == {"fact", "scenario", "easy"}


def test_a_rejected_key(tmp_path: Path) -> None:
    with running_simulator(speed=600, key_states={"secret-1": "invalid"}) as sim:
        run, config = planned(tmp_path, sim, 4, keys(1), teacher="openai")
        with pytest.raises(KeyRejectedError):
            generate_shard(run, 1, keys(1)[0], config)


def test_429s_by_header_and_code() -> None:
    import httpx

    teacher = make_teacher(CONFIG, keys(1)[0])
    assert isinstance(teacher, OpenAITeacher)
    refusal = teacher._error(429, {"error": {"message": "slow"}}, httpx.Headers({"retry-after": "7.5"}))
    assert isinstance(refusal, Refusal)
    assert refusal.retry_after_s == 7.5
    bare = teacher._error(429, None, httpx.Headers())
    assert isinstance(bare, Refusal)
    assert bare.retry_after_s is None
    assert isinstance(
        teacher._error(429, {"error": {"code": "insufficient_quota"}}, httpx.Headers()), QuotaExhaustedError
    )


def test_an_own_server_needs_an_address_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    nobody = ApiKey.model_validate({"id": "openai", "key": ""})
    config = CONFIG.model_copy(update={"base_url": None})
    with pytest.raises(InvalidInputError, match="needs --base-url"):
        OpenAITeacher(config, nobody, PromptSpec.from_config(config))
    assert "authorization" not in OpenAITeacher(CONFIG, nobody, PromptSpec.from_config(CONFIG)).server._client.headers
