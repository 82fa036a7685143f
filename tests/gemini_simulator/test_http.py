"""The API over HTTP: the status codes, headers and bodies that a client has to distinguish."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest

from gemini_simulator import RunningSimulator, running_simulator
from gemini_simulator.json_types import JsonObject, as_list, as_object, as_text
from gemini_simulator.service import key_fingerprint
from insurance_rag.core.errors import InvalidInputError, ServerUnavailableError

CHUNK_TEXT = "제{n}조(청약의 철회)\n계약자는 보험증권을 받은 날부터 15일 이내에 그 청약을 철회할 수 있습니다."
ARRAY = {"responseMimeType": "application/json", "responseSchema": {"type": "ARRAY"}}


def prompt(n: int = 1) -> str:
    return f"상품: 든든 암보험\n### 보험 약관 내용\n{CHUNK_TEXT.format(n=n)}"


def ask(sim: RunningSimulator, n: int = 1, key: str = "k1", model: str = "m", text: str = "") -> httpx.Response:
    body = {"contents": [{"parts": [{"text": text or prompt(n)}]}], "generationConfig": ARRAY}
    return httpx.post(f"{sim.url}/v1beta/models/{model}:generateContent", json=body, headers={"x-goog-api-key": key})


def chat(sim: RunningSimulator, n: int = 1, key: str = "k1", **fields: object) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt(n)}], **fields}
    return httpx.post(f"{sim.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


def pairs_in(response: httpx.Response) -> list[dict[str, str]]:
    pairs: list[dict[str, str]] = json.loads(response.json()["candidates"][0]["content"]["parts"][0]["text"])
    return pairs


def detail(response: httpx.Response, kind: str) -> JsonObject:
    """Return the error detail whose type ends in `kind`."""
    details: list[JsonObject] = response.json()["error"]["details"]
    return next(detail for detail in details if str(detail["@type"]).endswith(kind))


def violations(response: httpx.Response) -> list[JsonObject]:
    return [as_object(violation) for violation in as_list(detail(response, "QuotaFailure")["violations"])]


def retry_delay_s(response: httpx.Response) -> float:
    return float(as_text(detail(response, "RetryInfo")["retryDelay"]).rstrip("s"))


def test_the_quota_per_minute_counts_per_project_and_model() -> None:
    with running_simulator(quota={"rpm": 2}, projects={"k1": "p", "k2": "p"}, speed=60, latency_s=0) as sim:
        assert [ask(sim, 1, "k1").status_code, ask(sim, 2, "k2").status_code] == [200, 200]
        refused = ask(sim, 3, "k1")
        assert refused.status_code == 429
        violation = violations(refused)[0]
        assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
        assert violation["quotaValue"] == "2"
        assert ask(sim, 3, "k3").status_code == 200
        assert ask(sim, 3, "k1", model="other").status_code == 200
        time.sleep(retry_delay_s(refused))
        assert ask(sim, 3, "k2").status_code == 200
        stats = sim.stats()
    assert stats["projects"]["p"]["refused_429"] == 1
    assert stats["projects"]["p"]["peak_requests_per_minute"] <= 3  # two of one model, one of the other
    assert stats["keys"][key_fingerprint("k2")]["answered"] == 2
    assert "k2" not in stats["keys"]


def test_all_429s_have_the_same_message_and_differ_in_their_details() -> None:
    quotas = {"day": {"rpd": 1}, "zero": {"rpm": 0}, "tokens": {"tpm": 70}}
    projects = {name: name for name in quotas}
    with running_simulator(quotas=quotas, projects=projects, latency_s=0) as sim:
        assert ask(sim, key="day").status_code == 200
        day, zero = ask(sim, key="day"), ask(sim, key="zero")
        ask(sim, key="tokens")
        tokens = ask(sim, key="tokens")
        assert sim.stats()["projects"]["day"]["calls_after_daily_quota"] == 0
    assert "PerDay" in str(violations(day)[0]["quotaId"])
    assert retry_delay_s(day) < 60
    assert len(violations(zero)) == 3
    assert all("quotaValue" not in violation for violation in violations(zero))
    assert "InputTokens" in str(violations(tokens)[0]["quotaId"])
    messages = {response.json()["error"]["message"] for response in (day, zero, tokens)}
    assert len(messages) == 1


def test_a_bare_429_has_no_details() -> None:
    with running_simulator(quota={"rpm": 1}, faults={"bare_429": 1.0}, latency_s=0) as sim:
        ask(sim)
        error = ask(sim).json()["error"]
        assert chat(sim).headers.get("retry-after") is None
    assert error["status"] == "RESOURCE_EXHAUSTED" and "details" not in error


def test_rejected_keys() -> None:
    states = {"k-bad": "invalid", "k-leak": "leaked", "k-sus": "suspended", "k-off": "disabled"}
    with running_simulator(key_states=states) as sim:
        answers = {key: ask(sim, key=key) for key in states}
        without = httpx.post(f"{sim.url}/v1beta/models/m:generateContent", json={"contents": [{"parts": []}]})
        assert sim.stats()["admitted"] == 0
        assert [chat(sim, key=key).status_code for key in ("k-bad", "k-leak")] == [401, 403]
    assert {key: answer.status_code for key, answer in answers.items()} == {
        "k-bad": 400,
        "k-leak": 403,
        "k-sus": 403,
        "k-off": 403,
    }
    assert detail(answers["k-bad"], "ErrorInfo")["reason"] == "API_KEY_INVALID"
    assert detail(answers["k-sus"], "ErrorInfo")["reason"] == "CONSUMER_SUSPENDED"
    assert answers["k-leak"].json()["error"]["status"] == "PERMISSION_DENIED"
    assert without.status_code == 403
    assert not any(key in answer.text for key, answer in answers.items())


@pytest.mark.parametrize(("fault", "status"), [("503", 503), ("500", 500), ("502", 502)])
def test_server_faults(fault: str, status: int) -> None:
    with running_simulator(faults={fault: 1.0}, latency_s=0) as sim:
        answer = ask(sim)
        assert chat(sim).status_code == status
        assert sim.stats()["outcomes"] == {fault: 2}
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html" if fault == "502" else "application/json")


def test_a_dropped_connection() -> None:
    with running_simulator(faults={"drop": 1.0}, latency_s=0) as sim, pytest.raises(httpx.TransportError):
        ask(sim)


def test_damaged_answers() -> None:
    answers = {}
    for fault in ("malformed", "max_tokens", "empty", "fenced"):
        with running_simulator(faults={fault: 1.0}, latency_s=0, defects=0) as sim:
            answers[fault] = ask(sim).json()["candidates"][0]
            assert chat(sim).json()["choices"][0]["finish_reason"] == ("length" if fault == "max_tokens" else "stop")
            assert sim.stats()["outcomes"] == {"answered" if fault == "fenced" else fault: 2}
    text = {name: "".join(p["text"] for p in a["content"].get("parts", [])) for name, a in answers.items()}
    for name in ("malformed", "max_tokens"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(text[name])
    assert answers["max_tokens"]["finishReason"] == "MAX_TOKENS" and answers["malformed"]["finishReason"] == "STOP"
    assert text["empty"] == ""
    assert len(json.loads(text["fenced"].removeprefix("```json").removesuffix("```"))) == 3


def test_a_fault_is_temporary_and_a_block_is_permanent() -> None:
    with running_simulator(faults={"503": 0.5, "blocked": 0.5}, latency_s=0, seed=3) as sim:
        answers_by_chunk = {n: [ask(sim, n) for _ in range(5)] for n in range(1, 9)}
        assert chat(sim, 1).status_code in (200, 503)
    outcomes = {n: {_blocked(a) for a in answers if a.status_code == 200} for n, answers in answers_by_chunk.items()}
    assert all(len(outcome) == 1 for outcome in outcomes.values())  # a chunk is blocked always or never
    assert {blocked for outcome in outcomes.values() for blocked in outcome} == {True, False}
    assert any(len({a.status_code for a in answers}) == 2 for answers in answers_by_chunk.values())


def _blocked(answer: httpx.Response) -> bool:
    body = answer.json()
    return "promptFeedback" in body or body["candidates"][0]["finishReason"] in ("SAFETY", "RECITATION")


def test_a_blocked_chunk_counts_as_blocked_whatever_the_fault() -> None:
    with running_simulator(faults={"malformed": 1.0, "blocked": 1.0}, latency_s=0) as sim:
        ask(sim)
        assert sim.stats()["outcomes"] == {"blocked": 1}


def test_an_outage_lasts_for_its_span_of_the_clock() -> None:
    with running_simulator(outages=[(0, 30)], speed=60, latency_s=0) as sim:
        assert ask(sim).status_code == 503
        time.sleep(0.6)
        assert ask(sim).status_code == 200
        assert sim.stats()["admitted"] == 1  # a request during an outage uses no quota


def test_openai_compatible_answers_share_the_quota() -> None:
    schema = {"type": "object", "properties": {"pairs": {"type": "array", "items": {}}}}
    form = {"type": "json_schema", "json_schema": {"name": "pairs", "schema": schema}}
    with running_simulator(quota={"rpm": 2}, latency_s=0, defects=0) as sim:
        assert ask(sim).status_code == 200
        answer = chat(sim, response_format=form).json()
        refused = chat(sim)
        models = httpx.get(f"{sim.url}/v1/models", headers={"authorization": "Bearer k1"}).json()
    assert len(json.loads(answer["choices"][0]["message"]["content"])["pairs"]) == 3
    assert answer["usage"]["total_tokens"] > answer["usage"]["prompt_tokens"] > 0
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(refused.headers["retry-after-ms"]) <= 60_000
    assert models["data"][0]["object"] == "model"


def test_openai_format_reports_an_exceeded_daily_quota() -> None:
    with running_simulator(quota={"rpd": 1}, latency_s=0) as sim:
        assert "질문:" in chat(sim).json()["choices"][0]["message"]["content"]
        assert chat(sim).json()["error"]["code"] == "insufficient_quota"


def test_invalid_requests_are_400_or_404() -> None:
    with running_simulator() as sim:
        headers = {"x-goog-api-key": "k1"}
        url = f"{sim.url}/v1beta/models/m"
        assert httpx.post(f"{url}:generateContent", content=b"{", headers=headers).status_code == 400
        assert httpx.post(f"{url}:generateContent", json={}, headers=headers).status_code == 400
        for settings in (
            {"responseSchema": {"type": "ARRAY"}},
            {"responseMimeType": "application/json", "responseSchema": "ARRAY"},
        ):
            body = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": settings}
            assert httpx.post(f"{url}:generateContent", headers=headers, json=body).status_code == 400
        assert httpx.post(f"{url}:embedContent", json={}, headers=headers).status_code == 404
        assert httpx.post(f"{url}:batchGenerateContent", json={}, headers=headers).status_code == 400
        assert httpx.get(f"{sim.url}/v1beta/batches/none", headers=headers).status_code == 404
        assert chat(sim, messages=[]).status_code == 400
        assert chat(sim, response_format={"type": "json_schema"}).status_code == 400


def test_latency_and_speed_scale_together() -> None:
    with running_simulator(latency_s=6.0, speed=60) as sim:
        started = time.perf_counter()
        ask(sim)
        assert 0.1 <= time.perf_counter() - started < 0.6
        stats = sim.stats()
    assert stats["first_s"] is not None and stats["last_answer_s"] is not None
    # The event loop may wake up 1 ms early, which is 0.06 s on this clock.
    assert 6.0 - 0.06 <= stats["last_answer_s"] - stats["first_s"] < 30


def test_the_ground_truth_lists_every_pair_with_its_defect() -> None:
    with running_simulator(latency_s=0, defects=0.5) as sim:
        sent = [pair for n in range(1, 11) for pair in pairs_in(ask(sim, n))]
        ground_truth, stats = sim.ground_truth(), sim.stats()
    sent_keys = {(pair["type"], pair.get("question", ""), pair.get("answer", "")) for pair in sent}
    assert sent_keys == {(pair["type"], pair["question"], pair["answer"]) for pair in ground_truth}
    assert 5 < sum(pair["defect"] is not None for pair in ground_truth) < 25
    assert stats["distinct_answered"] == 10 and stats["repeated_answers"] == 0
    assert set(stats["chunks"]) == {pair["chunk_sha256"] for pair in ground_truth}


def test_a_request_costs_less_than_10_ms_of_processor_time() -> None:
    """Measures processor time, which other load on the machine does not change; the client uses most of it."""

    async def seconds_per_request() -> float:
        headers = {"x-goog-api-key": "k1"}
        async with httpx.AsyncClient(base_url=sim.url, headers=headers, timeout=None) as client:
            body = {"contents": [{"parts": [{"text": prompt(1)}]}], "generationConfig": ARRAY}
            await client.post("/v1beta/models/m:generateContent", json=body)
            started = time.process_time()
            for _ in range(200):
                assert (await client.post("/v1beta/models/m:generateContent", json=body)).status_code == 200
            return (time.process_time() - started) / 200

    with running_simulator(latency_s=0) as sim:
        assert asyncio.run(seconds_per_request()) < 0.010


def test_invalid_options_and_a_used_port_are_reported() -> None:
    with pytest.raises(InvalidInputError, match="latency"), running_simulator(latency=1):
        pass
    with running_simulator() as sim:
        port = int(sim.url.rpartition(":")[2])
        with pytest.raises(ServerUnavailableError, match="--port 0"), running_simulator(port=port):
            pass
