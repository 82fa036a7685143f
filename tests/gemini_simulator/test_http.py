"""The API over real HTTP, as plain httpx sees it: the bodies a client has to tell apart."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from gemini_simulator import RunningSimulator, running_simulator
from gemini_simulator.service import fingerprint
from insurance_rag.core.errors import InvalidInputError, ServerUnavailableError

CLAUSE = "제{n}조(청약의 철회)\n계약자는 보험증권을 받은 날부터 15일 이내에 그 청약을 철회할 수 있습니다."
ARRAY = {"responseMimeType": "application/json", "responseSchema": {"type": "ARRAY"}}


def prompt(n: int = 1) -> str:
    return f"상품: 든든 암보험\n### 보험 약관 내용\n{CLAUSE.format(n=n)}"


def ask(sim: RunningSimulator, n: int = 1, key: str = "k1", model: str = "m", text: str = "") -> httpx.Response:
    body = {"contents": [{"parts": [{"text": text or prompt(n)}]}], "generationConfig": ARRAY}
    return httpx.post(f"{sim.url}/v1beta/models/{model}:generateContent", json=body, headers={"x-goog-api-key": key})


def chat(sim: RunningSimulator, n: int = 1, key: str = "k1", **fields: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt(n)}], **fields}
    return httpx.post(f"{sim.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


def detail(response: httpx.Response, kind: str) -> dict[str, Any]:
    return next(d for d in response.json()["error"]["details"] if d["@type"].endswith(kind))


def test_a_minutes_quota_belongs_to_the_project_and_the_model() -> None:
    with running_simulator(quota={"rpm": 2}, projects={"k1": "p", "k2": "p"}, speed=60, latency_s=0) as sim:
        assert [ask(sim, 1, "k1").status_code, ask(sim, 2, "k2").status_code] == [200, 200]
        refused = ask(sim, 3, "k1")
        assert refused.status_code == 429
        violation = detail(refused, "QuotaFailure")["violations"][0]
        assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
        assert violation["quotaValue"] == "2"
        assert ask(sim, 3, "k3").status_code == 200
        assert ask(sim, 3, "k1", model="other").status_code == 200
        time.sleep(float(detail(refused, "RetryInfo")["retryDelay"].rstrip("s")))
        assert ask(sim, 3, "k2").status_code == 200
        stats = sim.stats()
    assert stats["projects"]["p"]["refused_429"] == 1
    assert stats["projects"]["p"]["peak_requests_per_minute"] <= 3  # two of one model, one of the other
    assert stats["keys"][fingerprint("k2")]["answered"] == 2
    assert "k2" not in stats["keys"]


def test_the_traps_of_real_429s() -> None:
    quotas = {"day": {"rpd": 1}, "zero": {"rpm": 0}, "tokens": {"tpm": 70}}
    projects = {name: name for name in quotas}
    with running_simulator(quotas=quotas, projects=projects, latency_s=0) as sim:
        assert ask(sim, key="day").status_code == 200
        day, zero = ask(sim, key="day"), ask(sim, key="zero")
        ask(sim, key="tokens")
        tokens = ask(sim, key="tokens")
        assert sim.stats()["projects"]["day"]["after_day_out"] == 0
    assert "PerDay" in detail(day, "QuotaFailure")["violations"][0]["quotaId"]
    assert float(detail(day, "RetryInfo")["retryDelay"].rstrip("s")) < 60
    assert len(detail(zero, "QuotaFailure")["violations"]) == 3
    assert all("quotaValue" not in violation for violation in detail(zero, "QuotaFailure")["violations"])
    assert "InputTokens" in detail(tokens, "QuotaFailure")["violations"][0]["quotaId"]
    prose = {response.json()["error"]["message"] for response in (day, zero, tokens)}
    assert len(prose) == 1


def test_a_bare_429_has_no_details() -> None:
    with running_simulator(quota={"rpm": 1}, faults={"bare_429": 1.0}, latency_s=0) as sim:
        ask(sim)
        error = ask(sim).json()["error"]
        assert chat(sim).headers.get("retry-after") is None
    assert error["status"] == "RESOURCE_EXHAUSTED" and "details" not in error


def test_refused_keys() -> None:
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


def test_spoilt_answers() -> None:
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


def test_a_fault_passes_and_a_block_stays() -> None:
    with running_simulator(faults={"503": 0.5, "blocked": 0.5}, latency_s=0, seed=3) as sim:
        seen = {n: [ask(sim, n) for _ in range(5)] for n in range(1, 9)}
        assert chat(sim, 1).status_code in (200, 503)
    outcomes = {n: {_blocked(a) for a in answers if a.status_code == 200} for n, answers in seen.items()}
    assert all(len(outcome) == 1 for outcome in outcomes.values())  # the same clause is always blocked, or never
    assert {blocked for outcome in outcomes.values() for blocked in outcome} == {True, False}
    assert any(len({a.status_code for a in answers}) == 2 for answers in seen.values())


def _blocked(answer: httpx.Response) -> bool:
    body = answer.json()
    return "promptFeedback" in body or body["candidates"][0]["finishReason"] in ("SAFETY", "RECITATION")


def test_a_blocked_clause_is_booked_as_blocked_whatever_else_befell_it() -> None:
    with running_simulator(faults={"malformed": 1.0, "blocked": 1.0}, latency_s=0) as sim:
        ask(sim)
        assert sim.stats()["outcomes"] == {"blocked": 1}


def test_an_outage_is_a_span_of_its_clock() -> None:
    with running_simulator(outages=[(0, 30)], speed=60, latency_s=0) as sim:
        assert ask(sim).status_code == 503
        time.sleep(0.6)
        assert ask(sim).status_code == 200
        assert sim.stats()["admitted"] == 1  # an outage draws on no quota


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


def test_openai_names_a_days_quota() -> None:
    with running_simulator(quota={"rpd": 1}, latency_s=0) as sim:
        assert "질문:" in chat(sim).json()["choices"][0]["message"]["content"]
        assert chat(sim).json()["error"]["code"] == "insufficient_quota"


def test_requests_at_fault_are_400_or_404() -> None:
    with running_simulator() as sim:
        headers = {"x-goog-api-key": "k1"}
        url = f"{sim.url}/v1beta/models/m"
        assert httpx.post(f"{url}:generateContent", content=b"{", headers=headers).status_code == 400
        assert httpx.post(f"{url}:generateContent", json={}, headers=headers).status_code == 400
        assert httpx.post(f"{url}:generateContent", headers=headers, json={
            "contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"responseSchema": {"type": "ARRAY"}}
        }).status_code == 400  # fmt: skip
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
    assert 6.0 <= stats["last_answer_s"] - stats["first_s"] < 30


def test_truth_knows_every_answer() -> None:
    with running_simulator(latency_s=0, defects=0.5) as sim:
        said = [json.loads(ask(sim, n).json()["candidates"][0]["content"]["parts"][0]["text"]) for n in range(1, 11)]
        truth, stats = sim.truth(), sim.stats()
    told = {(item["type"], item.get("question", ""), item.get("answer", "")) for items in said for item in items}
    assert told == {(item["type"], item["question"], item["answer"]) for item in truth}
    assert 5 < sum(item["defect"] is not None for item in truth) < 25
    assert stats["distinct_answered"] == 10 and stats["repeated_answers"] == 0
    assert set(stats["clauses"]) == {item["clause_sha256"] for item in truth}


def test_a_request_costs_little() -> None:
    """In processor time, which neighbours on the machine do not change; most of it is the client's own."""

    async def many() -> float:
        headers = {"x-goog-api-key": "k1"}
        async with httpx.AsyncClient(base_url=sim.url, headers=headers, timeout=None) as client:
            body = {"contents": [{"parts": [{"text": prompt(1)}]}], "generationConfig": ARRAY}
            await client.post("/v1beta/models/m:generateContent", json=body)
            started = time.process_time()
            for _ in range(200):
                assert (await client.post("/v1beta/models/m:generateContent", json=body)).status_code == 200
            return (time.process_time() - started) / 200

    with running_simulator(latency_s=0) as sim:
        assert asyncio.run(many()) < 0.010


def test_wrong_options_and_a_taken_port_are_named() -> None:
    with pytest.raises(InvalidInputError, match="latency"), running_simulator(latency=1):
        pass
    with running_simulator() as sim:
        port = int(sim.url.rpartition(":")[2])
        with pytest.raises(ServerUnavailableError, match="--port 0"), running_simulator(port=port):
            pass
