"""Packs and the life cycle of models over HTTP: statistics, limits of the answer, retired and unknown models."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from google import genai
from google.genai import errors, types
from tests.gemini_simulator.packed_prompts import REPAIR, finish_reason, packed_prompt, packed_schema, send, sent_items

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.chunks import read_chunks

HEADERS = {"x-goog-api-key": "k1"}
CHUNKS = read_chunks("sample")[:6]


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    routed = {"gemini-2.5-flash": "gemini-3.5-flash-lite"}
    with running_simulator(latency_s=0, defects=0, routed_models=routed, pack_degradation=0) as simulator:
        yield simulator


def url_of(model: str) -> str:
    return f"v1beta/models/{model}:generateContent"


def test_an_unknown_gemini_model_is_404(sim: RunningSimulator) -> None:
    refused = send(sim, CHUNKS[:1], url=url_of("gemini-2.0-flash"))
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["status"]) == (404, 404, "NOT_FOUND")
    assert error["message"].startswith("models/gemini-2.0-flash is not found for API version v1beta, or is not")
    assert httpx.get(f"{sim.url}/v1beta/models/gemini-2.0-flash", headers=HEADERS).status_code == 404
    batch = f"{sim.url}/v1beta/models/gemini-2.0-flash:batchGenerateContent"
    assert httpx.post(batch, json={}, headers=HEADERS).status_code == 404
    chat = {"model": "gemini-2.0-flash", "messages": [{"role": "user", "content": "x"}]}
    response = httpx.post(f"{sim.url}/v1/chat/completions", json=chat, headers={"authorization": "Bearer k1"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert send(sim, CHUNKS[:1], url=url_of("qwen")).json()["modelVersion"] == "qwen"
    assert sim.stats()["outcomes"]["model_not_found"] == 2
    client = genai.Client(api_key="k1", http_options=types.HttpOptions(base_url=sim.url))
    with pytest.raises(errors.ClientError) as e:
        client.models.generate_content(model="gemini-2.0-flash", contents="x")
    assert e.value.code == 404


def test_another_model_answers_for_a_retired_one(sim: RunningSimulator) -> None:
    assert send(sim, CHUNKS[:1], url=url_of("gemini-2.5-flash")).json()["modelVersion"] == "gemini-3.5-flash-lite"
    assert send(sim, CHUNKS[:1], url=url_of("gemini-2.5-pro")).json()["modelVersion"] == "gemini-2.5-pro"
    listed = httpx.get(f"{sim.url}/v1beta/models", headers=HEADERS).json()["models"]
    names = [model["name"].removeprefix("models/") for model in listed]
    assert names[0] == "gemini-3.8-flash" and len(names) == 8 and "gemini-2.5-flash" not in names
    assert httpx.get(f"{sim.url}/v1beta/models/gemini-2.5-pro", headers=HEADERS).status_code == 200


def test_a_retired_model_shares_the_quota_of_the_model_that_answers() -> None:
    routed = {"gemini-2.5-flash": "gemini-3.5-flash-lite"}
    with running_simulator(latency_s=0, routed_models=routed, quota={"rpm": 1}) as sim:
        codes = [send(sim, CHUNKS[:1], url=url_of(model)).status_code for pair in routed.items() for model in pair]
    assert codes == [200, 429]


def test_the_official_client_sends_a_pack_with_thinking(sim: RunningSimulator) -> None:
    client = genai.Client(api_key="k1", http_options=types.HttpOptions(base_url=sim.url))
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_json_schema=packed_schema(6),
        thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
        max_output_tokens=8000,
        temperature=1.0,
    )
    answer = client.models.generate_content(
        model="gemini-3.5-flash-lite", contents=packed_prompt(CHUNKS), config=config
    )
    usage = answer.usage_metadata
    assert usage and usage.candidates_token_count and usage.thoughts_token_count
    assert usage.thoughts_token_count == pytest.approx(usage.candidates_token_count / 2, abs=1)
    assert usage.total_token_count == (
        (usage.prompt_token_count or 0) + usage.candidates_token_count + usage.thoughts_token_count
    )
    assert answer.model_version == "gemini-3.5-flash-lite" and '"chunk": "C6"' in (answer.text or "")


def test_minimal_thinking_costs_nothing_and_unknown_levels_are_refused(sim: RunningSimulator) -> None:
    minimal = send(sim, CHUNKS, thinkingConfig={"thinkingLevel": "minimal"})
    assert "thoughtsTokenCount" not in minimal.json()["usageMetadata"]
    assert send(sim, CHUNKS, thinkingConfig={"thinkingLevel": "huge"}).status_code == 400


def test_an_answer_is_cut_at_its_token_limit(sim: RunningSimulator) -> None:
    whole = send(sim, CHUNKS).json()["usageMetadata"]["candidatesTokenCount"]
    assert finish_reason(send(sim, CHUNKS, maxOutputTokens=whole)) == "STOP"
    cut = send(sim, CHUNKS, maxOutputTokens=whole // 2)
    assert finish_reason(cut) == "MAX_TOKENS"
    assert cut.json()["usageMetadata"]["candidatesTokenCount"] == whole // 2
    with pytest.raises(json.JSONDecodeError):
        sent_items(cut)
    assert sim.stats()["outcomes"]["max_tokens"] == 1


def test_long_answers_take_longer() -> None:
    with running_simulator(latency_s=0, output_tokens_per_s=100, speed=60, defects=0) as sim:
        seconds, tokens = [], []
        for chunks, level in ((CHUNKS[:1], "minimal"), (CHUNKS, "minimal"), (CHUNKS, "high")):
            started = time.perf_counter()
            usage = send(sim, chunks, thinkingConfig={"thinkingLevel": level}).json()["usageMetadata"]
            seconds.append((time.perf_counter() - started) * 60)
            tokens.append(usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0))
    assert tokens[0] < tokens[1] < tokens[2]
    assert all(measured > 0.9 * count / 100 for measured, count in zip(seconds, tokens, strict=True))


def test_the_reported_token_counts_can_be_wrong_while_the_quota_is_right() -> None:
    used = []
    for factor in (1.0, 3.0):
        with running_simulator(latency_s=0, token_count_factor=factor) as sim:
            used.append((send(sim, CHUNKS).json()["usageMetadata"], sim.stats()["tokens"]))
    (right, tokens), (wrong, same_tokens) = used
    assert wrong["promptTokenCount"] == 3 * right["promptTokenCount"]
    assert wrong["candidatesTokenCount"] == 3 * right["candidatesTokenCount"]
    assert tokens == same_tokens == right["promptTokenCount"]


def test_statistics_count_chunks_and_requests() -> None:
    with running_simulator(latency_s=0, pack_degradation=0) as sim:
        send(sim, CHUNKS)
        send(sim, CHUNKS[:2])
        send(sim, CHUNKS[:1], types=["unanswerable"])
        send(sim, CHUNKS[:1], REPAIR)
        stats = sim.stats()
    assert (stats["calls"], stats["answered"], stats["corrections"]) == (4, 4, 1)
    assert (stats["chunks_answered"], stats["mean_chunks_per_call"]) == (10, 2.5)
    assert (stats["distinct_answered"], stats["repeated_answers"]) == (8, 2)
    assert sorted(outcomes["answered"] for outcomes in stats["chunks"].values()) == [1, 1, 1, 1, 2, 4]
    assert stats["projects"].popitem()[1]["chunks_answered"] == 10


def test_the_chunks_that_a_degraded_answer_lacks_do_not_count_as_answered() -> None:
    with running_simulator(latency_s=0, pack_degradation=0, pack_faults={"fewer": 1.0}) as sim:
        lacking = 6 - len({item.chunk for item in sent_items(send(sim, CHUNKS))})
        stats = sim.stats()
        send(sim, CHUNKS[:1])
        assert sim.stats()["outcomes"] == {"answered": 2}
    assert lacking > 0
    assert (stats["answered"], stats["chunks_answered"], stats["distinct_answered"]) == (1, 6 - lacking, 6 - lacking)
    outcomes = [outcome for each in stats["chunks"].values() for outcome in each]
    assert sorted(outcomes) == ["answered"] * (6 - lacking) + ["degraded"] * lacking


def test_the_ground_truth_lists_a_pair_under_the_chunk_whose_id_it_was_sent_with() -> None:
    with running_simulator(latency_s=0, defects=0, pack_degradation=0.1) as sim:
        sent = [item for n in range(1, 7) for item in sent_items(send(sim, CHUNKS[:n]))]
        truth = sim.ground_truth()
    assert {(i.type, i.question, i.answer) for i in sent} == {(t["type"], t["question"], t["answer"]) for t in truth}
    assert {t["defect"] for t in truth} == {None, "wrong_chunk"}


def test_a_batch_of_packs_counts_like_single_requests() -> None:
    with running_simulator(batch_s=0, defects=0, pack_degradation=0) as sim:
        config = {"responseMimeType": "application/json", "responseSchema": packed_schema(6)}
        requests = [
            {"contents": [{"parts": [{"text": packed_prompt(CHUNKS, heading)}]}], "generationConfig": config}
            for heading in ("", REPAIR)
        ]
        inlined = [{"request": request, "metadata": {"key": str(n)}} for n, request in enumerate(requests)]
        body = {"batch": {"inputConfig": {"requests": {"requests": inlined}}}}
        url = f"{sim.url}/v1beta/models/gemini-3.6-flash:batchGenerateContent"
        name = httpx.post(url, json=body, headers=HEADERS).json()["name"]
        finished = httpx.get(f"{sim.url}/v1beta/{name}", headers=HEADERS).json()
        responses = finished["response"]["inlinedResponses"]["inlinedResponses"]
        stats = sim.stats()
    assert [response["response"]["modelVersion"] for response in responses] == ["gemini-3.6-flash"] * 2
    assert (stats["answered"], stats["corrections"], stats["chunks_answered"]) == (2, 1, 12)
