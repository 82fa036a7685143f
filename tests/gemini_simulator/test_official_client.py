"""google-genai, the field's own client, judges the simulator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from gemini_simulator import RunningSimulator, running_simulator

MODEL = "gemini-2.5-flash"
PROMPT = (
    "상품: 든든 암보험\n### 보험 약관 내용\n"
    "제15조(청약의 철회)\n계약자는 보험증권을 받은 날부터 15일 이내에 그 청약을 철회할 수 있습니다."
)


class Pair(BaseModel):
    type: str
    question: str
    answer: str


def client_of(sim: RunningSimulator, key: str = "k1", **options: Any) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=sim.url, **options))


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(latency_s=0.01, batch_s=0.2, defects=0, key_states={"bad": "invalid"}) as simulator:
        yield simulator


def test_structured_output(sim: RunningSimulator) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=list[Pair])
    client = client_of(sim)  # kept: it closes its connections when it is collected
    answer = client.models.generate_content(model=MODEL, contents=PROMPT, config=config)
    pairs = answer.parsed
    assert [pair.type for pair in pairs] == ["fact", "scenario", "easy"]
    assert all("제15조" in pair.answer and "든든 암보험" in pair.question for pair in pairs)
    assert answer.usage_metadata.prompt_token_count > 20
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP


def test_async_and_every_version_of_the_api(sim: RunningSimulator) -> None:
    async def ask(version: str) -> str:
        client = client_of(sim, api_version=version)
        answer = await client.aio.models.generate_content(model=MODEL, contents=PROMPT)
        return answer.text or ""

    for version in ("v1", "v1beta", "v1alpha"):
        assert "질문:" in asyncio.run(ask(version))


def test_models_and_tokens(sim: RunningSimulator) -> None:
    client = client_of(sim)
    assert f"models/{MODEL}" in [model.name for model in client.models.list()]
    assert client.models.get(model=MODEL).input_token_limit > 1000
    assert client.models.count_tokens(model=MODEL, contents=PROMPT).total_tokens > 20


def test_a_bad_key(sim: RunningSimulator) -> None:
    client = client_of(sim, key="bad")
    with pytest.raises(errors.ClientError) as e:
        client.models.generate_content(model=MODEL, contents=PROMPT)
    assert (e.value.code, e.value.status) == (400, "INVALID_ARGUMENT")
    assert e.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_a_429_is_parsed_and_its_own_retries_get_through() -> None:
    with running_simulator(quota={"rpm": 1}, speed=60, latency_s=0) as sim:
        once = client_of(sim)
        once.models.generate_content(model=MODEL, contents=PROMPT)
        with pytest.raises(errors.ClientError) as e:
            once.models.generate_content(model=MODEL, contents=PROMPT)
        assert (e.value.code, e.value.status) == (429, "RESOURCE_EXHAUSTED")
        kinds = [detail["@type"].rpartition(".")[2] for detail in e.value.details["error"]["details"]]
        assert kinds == ["QuotaFailure", "Help", "RetryInfo"]
        retries = types.HttpRetryOptions(attempts=8, initial_delay=0.2, max_delay=0.6, jitter=0.05)
        patient = client_of(sim, retry_options=retries)
        assert patient.models.generate_content(model=MODEL, contents=PROMPT).text
        assert sim.stats()["refused_429"] >= 2


def test_server_errors_and_blocks() -> None:
    with running_simulator(faults={"503": 1.0}, latency_s=0) as sim:
        client = client_of(sim)
        with pytest.raises(errors.ServerError, match="overloaded"):
            client.models.generate_content(model=MODEL, contents=PROMPT)
    with running_simulator(faults={"blocked": 1.0}, latency_s=0) as sim:
        client = client_of(sim)
        answers = [client.models.generate_content(model=MODEL, contents=PROMPT + "가" * n) for n in range(12)]
    assert all(not answer.text for answer in answers)
    reasons = {a.prompt_feedback.block_reason if a.prompt_feedback else a.candidates[0].finish_reason for a in answers}
    assert {reason.value for reason in reasons} == {"SAFETY", "RECITATION", "PROHIBITED_CONTENT"}


def test_batches(sim: RunningSimulator) -> None:
    client = client_of(sim)
    requests = [
        {"contents": [{"parts": [{"text": PROMPT}], "role": "user"}], "metadata": {"key": str(n)}} for n in range(3)
    ]
    batch = client.batches.create(model=MODEL, src=requests, config={"display_name": "refresh"})
    assert batch.state == types.JobState.JOB_STATE_RUNNING
    deadline = time.monotonic() + 10
    while batch.state != types.JobState.JOB_STATE_SUCCEEDED:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        batch = client.batches.get(name=batch.name)
    answers = batch.dest.inlined_responses
    assert [answer.metadata["key"] for answer in answers] == ["0", "1", "2"]
    assert all("제15조" in answer.response.text for answer in answers)
    assert batch.name in [each.name for each in client.batches.list()]
    client.batches.delete(name=batch.name)
    with pytest.raises(errors.ClientError):
        client.batches.get(name=batch.name)


def test_batches_have_limits_and_faults_of_their_own() -> None:
    requests = [{"contents": [{"parts": [{"text": PROMPT + str(n)}], "role": "user"}]} for n in range(40)]
    with running_simulator(batch_s=1, batch_jobs=1, faults={"500": 0.3}, quota={"rpm": 1}, speed=4) as sim:
        client = client_of(sim)
        batch = client.batches.create(model=MODEL, src=requests)
        with pytest.raises(errors.ClientError) as e:
            client.batches.create(model=MODEL, src=requests)
        assert e.value.code == 429
        time.sleep(0.3)
        answers = client.batches.get(name=batch.name).dest.inlined_responses
        failed = [answer for answer in answers if answer.error]
        assert 3 < len(failed) < 25 and len(answers) == 40
        other = client.batches.create(model=MODEL, src=requests)
        client.batches.cancel(name=other.name)
        assert client.batches.get(name=other.name).state == types.JobState.JOB_STATE_CANCELLED
