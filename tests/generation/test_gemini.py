"""What each Gemini response means, by its structured fields: all messages have the same text."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import JsonValue, SecretStr
from tests.generation.runs import chunks, keys

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BlockedAnswerError,
    InvalidAnswerError,
    InvalidInputError,
    InvalidRequestError,
    KeyRejectedError,
    ProjectRejectedError,
    QuotaExhaustedError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.generation.prompt import ChunkRequest
from insurance_rag.generation.teachers.base import TeacherRequest
from insurance_rag.generation.teachers.gemini import GeminiTeacher, expected_tokens, read_answer
from insurance_rag.llm.client import Client, Response
from insurance_rag.llm.gemini import read_error
from insurance_rag.llm.json_values import as_dict
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import PlannedPair

REQUEST = TeacherRequest((ChunkRequest(chunks(1)[0], (PlannedPair("fact"), PlannedPair("easy"))),))
CLIENT = Client("http://x", SecretStr("SECRET"), {}, 1.0)
MESSAGE = "You exceeded your current quota, please check your plan and billing details. limit: 0"
JsonObject = dict[str, JsonValue]

PAIR = {"type": "fact", "question": "얼마인가요?", "answer": "제1조에 따르면 3만원입니다.", "evidence": "3만원"}


def quota(*violations: JsonObject, delay: str | None = None) -> JsonObject:
    details: list[JsonValue] = [{"@type": "google.rpc.QuotaFailure", "violations": list(violations)}]
    if delay:
        details.append({"@type": "google.rpc.RetryInfo", "retryDelay": delay})
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": MESSAGE, "details": details}}


def violation(quota_id: str, value: str | None = "10") -> JsonObject:
    fields: JsonObject = {"quotaId": quota_id}
    return fields if value is None else {**fields, "quotaValue": value}


MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
TOKENS = "GenerateContentInputTokensPerModelPerMinute-FreeTier"


def max_output_tokens(**settings: object) -> JsonValue:
    config = GenerationConfig.model_validate(settings)
    teacher = GeminiTeacher(config, keys(1)[0], PromptSpec.from_config(config))
    body = teacher.body(REQUEST)
    asyncio.run(teacher.close())
    return as_dict(body["generationConfig"]).get("maxOutputTokens")


def test_answers_are_limited_in_length_only_if_the_model_does_not_think() -> None:
    assert max_output_tokens() == expected_tokens(REQUEST)
    assert max_output_tokens(thinking="minimal") == expected_tokens(REQUEST)
    assert max_output_tokens(thinking="high") == 65536


def test_quota_per_minute_names_its_size_and_the_wait() -> None:
    error = read_error(CLIENT, Response(429, quota(violation(MINUTE), delay="42.5s")))
    assert isinstance(error, RateLimitError)
    assert (error.metric, error.limit, error.retry_after_s) == ("requests", 10, 42.5)


def test_tokens_are_another_quota() -> None:
    error = read_error(CLIENT, Response(429, quota(violation(TOKENS, "250000"))))
    assert isinstance(error, RateLimitError)
    assert (error.metric, error.limit, error.retry_after_s) == ("tokens", 250000, None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (quota(violation(DAY, "250"), delay="3s"), QuotaExhaustedError),
        (quota(violation(MINUTE), violation(DAY, "250"), delay="3s"), QuotaExhaustedError),
        (
            quota(violation(TOKENS, None), violation(MINUTE, None), violation(DAY, None), delay="3s"),
            ProjectRejectedError,
        ),
        (quota(violation(DAY, "0")), ProjectRejectedError),
        (quota(), RateLimitError),
        ({"error": {"code": 429, "message": MESSAGE}}, RateLimitError),
        ({"error": "odd"}, RateLimitError),
        (None, RateLimitError),
        (quota(violation(MINUTE, "many"), delay="soon"), RateLimitError),
    ],
)
def test_429s(body: JsonValue, kind: type[Exception]) -> None:
    assert isinstance(read_error(CLIENT, Response(429, body)), kind)


def failed(status: str, reason: str | None = None) -> JsonObject:
    details: list[JsonValue] = [{"@type": "google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return {"error": {"status": status, "message": "key SECRET", "details": details}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, failed("INVALID_ARGUMENT", "API_KEY_INVALID"), KeyRejectedError),
        (400, failed("FAILED_PRECONDITION"), KeyRejectedError),
        (400, failed("INVALID_ARGUMENT"), InvalidRequestError),
        (413, None, InvalidRequestError),
        (401, failed("UNAUTHENTICATED"), KeyRejectedError),
        (403, failed("PERMISSION_DENIED", "CONSUMER_SUSPENDED"), KeyRejectedError),
        (404, failed("NOT_FOUND"), InvalidInputError),
        (408, None, ServerUnavailableError),
        (500, failed("INTERNAL"), ServerUnavailableError),
        (502, None, ServerUnavailableError),
        (503, failed("UNAVAILABLE"), ServerUnavailableError),
        (302, None, InvalidInputError),
    ],
)
def test_other_errors(status: int, body: JsonValue, kind: type[Exception]) -> None:
    error = read_error(CLIENT, Response(status, body))
    assert isinstance(error, kind)
    assert "SECRET" not in str(error)


def answer(text: str = json.dumps([PAIR]), finish: str = "STOP", **more: JsonValue) -> JsonObject:
    usage: JsonObject = {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 2}
    candidate: JsonObject = {
        "content": {"parts": [{"text": "hm", "thought": True}, {"text": text}]},
        "finishReason": finish,
    }
    return {"candidates": [candidate], "usageMetadata": usage, **more}


def test_answer_with_its_tokens() -> None:
    found = read_answer(answer(modelVersion="gemini-9"), REQUEST)
    assert [[pair.question for pair in pairs] for pairs in found.pairs] == [[PAIR["question"]]]
    assert (found.tokens_in, found.tokens_out, found.model, found.is_cut) == (7, 7, "gemini-9", False)


@pytest.mark.parametrize("finish", ["STOP", "MAX_TOKENS"])
def test_cut_answer_keeps_its_complete_pairs(finish: str) -> None:
    found = read_answer(answer(json.dumps([PAIR, PAIR])[:-30], finish), REQUEST)
    assert [len(pairs) for pairs in found.pairs] == [1]
    assert found.is_cut


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (answer(finish="MAX_TOKENS", text="[{"), InvalidAnswerError),
        (answer(finish="MAX_TOKENS", text=""), InvalidAnswerError),
        (answer(finish="OTHER"), InvalidAnswerError),
        (answer(text="[{"), InvalidAnswerError),
        (answer(candidates=[]), InvalidAnswerError),
        (answer(candidates=[{"finishReason": "STOP"}]), InvalidAnswerError),
        (answer(finish="SAFETY"), BlockedAnswerError),
        (answer(finish="RECITATION"), BlockedAnswerError),
        (answer(promptFeedback={"blockReason": "PROHIBITED_CONTENT"}), BlockedAnswerError),
    ],
)
def test_status_200_without_pairs(body: JsonObject, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        read_answer(body, REQUEST)
    assert isinstance(caught.value, (InvalidAnswerError, BlockedAnswerError))
    assert caught.value.tokens == (7, 7)
