"""The same seed gives the same answers, defects, faults and latencies in every version of the simulator.

Measured results in docs/results depend on these draws. If a test here fails, a change has altered what the simulator
sends; change the expected hash only if that was intended.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache

from gemini_simulator import gemini_format, openai_format
from gemini_simulator.answers import write_answer
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.json_types import JsonObject
from gemini_simulator.parsed_request import ParsedRequest
from gemini_simulator.records import record_request
from gemini_simulator.reply import SERVER_FAULTS, draw_fault, make_reply
from gemini_simulator.service import Service, key_fingerprint
from insurance_rag.chunks import read_chunks

ARRAY: JsonObject = {"type": "ARRAY"}
TWO_TYPES: JsonObject = {
    "type": "object",
    "properties": {
        "note": {"type": "string"},
        "pairs": {
            "type": "array",
            "items": {
                "type": "OBJECT",
                "properties": {"type": {"enum": ["fact", "unanswerable"]}, "instruction": {}, "output": {}},
            },
        },
    },
}
SINGLE_PAIR: JsonObject = {"type": "object", "properties": {"question": {}, "answer": {}}}


@cache
def sample_requests() -> list[ParsedRequest]:
    """Five requests per sample chunk: array, plain text, two pairs of two types, a correction, and a bare chunk."""
    requests = []
    for chunk in read_chunks("sample"):
        product = chunk.metadata.breadcrumbs.split(" > ")[0]
        prompt = f"상품: {product}\n회사: {chunk.metadata.company}\n### 보험 약관 내용\n{chunk.text}\n"
        requests += [
            ParsedRequest(prompt, ARRAY),
            ParsedRequest(prompt),
            ParsedRequest("유형마다 2개씩 만듭니다.\n" + prompt, TWO_TYPES),
            ParsedRequest(prompt + "### 다시 작성\n- fact: 답변이 너무 짧습니다.\n", ARRAY),
            ParsedRequest(chunk.text, SINGLE_PAIR),
        ]
    return requests


def sha256_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def test_answers_and_defects() -> None:
    answers = [
        [answer.text, [[pair.type, pair.question, pair.answer, pair.defect] for pair in answer.pairs]]
        for seed, defects in ((0, 0.15), (1, 0.5), (7, 0.9))
        for answer in (write_answer(request, seed, defects) for request in sample_requests())
    ]
    assert sha256_of(answers) == "1adea09fa5b5de79c4c6ac035044530c175373d75e950e516f98d8e77fb37c62"


def test_faults_latencies_and_response_bodies() -> None:
    faults = {
        name: 0.1 for name in ("503", "drop", "malformed", "max_tokens", "empty", "blocked", "fenced", "bare_429")
    }
    draws: list[object] = []
    bodies = []
    for seed in (0, 1, 7):
        settings = {"seed": seed, "faults": faults, "latency_spread": 0.5, "defects": 0.3}
        service = Service(SimulatorConfig.parse(settings))
        for n, request in enumerate(sample_requests()):
            if n % 5 == 4:  # the bare chunk
                continue
            for _ in range(3):
                attempt = service.next_attempt(request)
                fault = draw_fault(service.config, attempt)
                draws.append([fault, service.latency_s(attempt)])
                if fault not in SERVER_FAULTS:
                    record = record_request(0.0, "", "", "m", request)
                    completion = service.deliver(record, make_reply(service.config, request, attempt))
                    chat = openai_format.write_answer(completion, "m")
                    del chat["created"]
                    bodies.append([gemini_format.write_answer(completion, "m"), chat])
        draws.append([[*key, pair["defect"]] for key, pair in service.ground_truth.items()])
    assert sha256_of(draws) == "a7601646db4dd3b4ddf89eaff323ba61ae6ee2d282ef089efc9baa3c6c24cb4f"
    assert sha256_of(bodies) == "04bb2b98c36eb7139d2172142ffb53b8b62bdbb987119e5a58d6905aee44f82c"


def test_key_fingerprint() -> None:
    assert key_fingerprint("secret") == "2bb80d53"
