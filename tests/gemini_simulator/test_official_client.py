"""Google's own client, google-genai, works against the simulator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel, TypeAdapter

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


def client_of(
    sim: RunningSimulator,
    key: str = "k1",
    api_version: str | None = None,
    retry_options: types.HttpRetryOptions | None = None,
) -> genai.Client:
    options = types.HttpOptions(base_url=sim.url, api_version=api_version, retry_options=retry_options)
    return genai.Client(api_key=key, http_options=options)


def candidate_of(answer: types.GenerateContentResponse) -> types.Candidate:
    assert answer.candidates
    return answer.candidates[0]


def inlined_requests(*texts: str) -> list[types.InlinedRequest]:
    return [
        types.InlinedRequest(
            contents=[types.Content(role="user", parts=[types.Part(text=text)])], metadata={"key": str(n)}
        )
        for n, text in enumerate(texts)
    ]


def submit(client: genai.Client, requests: list[types.InlinedRequest]) -> str:
    """Submit a batch and return its name."""
    name = client.batches.create(model=MODEL, src=requests, config={"display_name": "refresh"}).name
    assert name
    return name


def responses_of(batch: types.BatchJob) -> list[types.InlinedResponse]:
    assert batch.dest and batch.dest.inlined_responses
    return batch.dest.inlined_responses


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(latency_s=0.01, batch_s=0.2, defects=0, key_states={"bad": "invalid"}) as simulator:
        yield simulator


def test_structured_output(sim: RunningSimulator) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=list[Pair])
    client = client_of(sim)  # a client without a name would be collected, which closes its connections
    answer = client.models.generate_content(model=MODEL, contents=PROMPT, config=config)
    pairs = TypeAdapter(list[Pair]).validate_python(answer.parsed)
    assert [pair.type for pair in pairs] == ["fact", "scenario", "easy"]
    assert all("제15조" in pair.answer and "든든 암보험" in pair.question for pair in pairs)
    assert answer.usage_metadata and (answer.usage_metadata.prompt_token_count or 0) > 20
    assert candidate_of(answer).finish_reason == types.FinishReason.STOP


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
    assert client.models.get(model=MODEL).input_token_limit == 1_048_576
    assert (client.models.count_tokens(model=MODEL, contents=PROMPT).total_tokens or 0) > 20


def test_an_invalid_key(sim: RunningSimulator) -> None:
    client = client_of(sim, key="bad")
    with pytest.raises(errors.ClientError) as e:
        client.models.generate_content(model=MODEL, contents=PROMPT)
    assert (e.value.code, e.value.status) == (400, "INVALID_ARGUMENT")
    assert e.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_the_client_parses_a_429_and_its_own_retries_succeed() -> None:
    with running_simulator(quota={"rpm": 1}, speed=60, latency_s=0) as sim:
        without_retries = client_of(sim)
        without_retries.models.generate_content(model=MODEL, contents=PROMPT)
        with pytest.raises(errors.ClientError) as e:
            without_retries.models.generate_content(model=MODEL, contents=PROMPT)
        assert (e.value.code, e.value.status) == (429, "RESOURCE_EXHAUSTED")
        kinds = [detail["@type"].rpartition(".")[2] for detail in e.value.details["error"]["details"]]
        assert kinds == ["QuotaFailure", "Help", "RetryInfo"]
        retries = types.HttpRetryOptions(attempts=8, initial_delay=0.2, max_delay=0.6, jitter=0.05)
        with_retries = client_of(sim, retry_options=retries)
        assert with_retries.models.generate_content(model=MODEL, contents=PROMPT).text
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
    reasons = {a.prompt_feedback.block_reason if a.prompt_feedback else candidate_of(a).finish_reason for a in answers}
    assert {reason.value for reason in reasons if reason} == {"SAFETY", "RECITATION", "PROHIBITED_CONTENT"}


def test_batches(sim: RunningSimulator) -> None:
    client = client_of(sim)
    name = submit(client, inlined_requests(PROMPT, PROMPT, PROMPT))
    states = [client.batches.get(name=name).state]
    deadline = time.monotonic() + 10
    while states[-1] != types.JobState.JOB_STATE_SUCCEEDED:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        states.append(client.batches.get(name=name).state)
    assert states[0] == types.JobState.JOB_STATE_RUNNING
    answers = responses_of(client.batches.get(name=name))
    assert [answer.metadata["key"] for answer in answers if answer.metadata] == ["0", "1", "2"]
    assert all("제15조" in (answer.response.text or "") for answer in answers if answer.response)
    assert all(answer.response for answer in answers)
    assert name in [each.name for each in client.batches.list()]
    client.batches.delete(name=name)
    with pytest.raises(errors.ClientError):
        client.batches.get(name=name)


def test_batches_have_their_own_limit_and_faults() -> None:
    requests = inlined_requests(*(PROMPT + str(n) for n in range(40)))
    settings = {"faults": {"500": 0.3}, "quota": {"rpm": 1}}
    with running_simulator(batch_s=1, max_running_batches=1, speed=4, **settings) as sim:
        client = client_of(sim)
        name = submit(client, requests)
        with pytest.raises(errors.ClientError) as e:
            submit(client, requests)
        assert e.value.code == 429
        time.sleep(0.3)
        answers = responses_of(client.batches.get(name=name))
        failed = [answer for answer in answers if answer.error]
        assert 3 < len(failed) < 25 and len(answers) == 40
        other = submit(client, requests)
        client.batches.cancel(name=other)
        assert client.batches.get(name=other).state == types.JobState.JOB_STATE_CANCELLED
