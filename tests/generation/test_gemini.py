"""What each of Gemini's answers means, told apart by structured fields; the prose is the same on purpose."""

from __future__ import annotations

import json
from typing import Any

import pytest

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BlockedAnswerError,
    InvalidAnswerError,
    InvalidInputError,
    KeyRejectedError,
    QuotaExhaustedError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.core.records import ApiKey
from insurance_rag.generation.teachers.base import ProjectRejectedError, Refusal
from insurance_rag.generation.teachers.gemini import read_answer, read_error
from insurance_rag.llm.client import InvalidRequestError, Server
from insurance_rag.planning.prompt_spec import PromptSpec

CONTENT = PromptSpec.from_config(GenerationConfig())
SERVER = Server("http://x", ApiKey.model_validate({"id": "k", "key": "SECRET"}), {}, 1.0)
PROSE = "You exceeded your current quota, please check your plan and billing details. limit: 0"
PAIR = {"type": "fact", "question": "얼마인가요?", "answer": "제1조에 따르면 3만원입니다.", "evidence": "3만원"}


def quota(*violations: dict[str, Any], delay: str | None = None) -> dict[str, Any]:
    details: list[dict[str, Any]] = [{"@type": "google.rpc.QuotaFailure", "violations": list(violations)}]
    if delay:
        details.append({"@type": "google.rpc.RetryInfo", "retryDelay": delay})
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": PROSE, "details": details}}


def violation(quota_id: str, value: str | None = "10") -> dict[str, Any]:
    return {"quotaId": quota_id} | ({} if value is None else {"quotaValue": value})


MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
TOKENS = "GenerateContentInputTokensPerModelPerMinute-FreeTier"


def test_a_minutes_quota_names_its_size_and_the_wait() -> None:
    error = read_error(429, quota(violation(MINUTE), delay="42.5s"), SERVER)
    assert isinstance(error, Refusal)
    assert (error.metric, error.limit, error.retry_after_s) == ("requests", 10, 42.5)


def test_tokens_are_another_quota() -> None:
    error = read_error(429, quota(violation(TOKENS, "250000")), SERVER)
    assert isinstance(error, Refusal)
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
        ({"error": {"code": 429, "message": PROSE}}, RateLimitError),
        ({"error": "odd"}, RateLimitError),
        (None, RateLimitError),
        (quota(violation(MINUTE, "many"), delay="soon"), RateLimitError),
    ],
)
def test_429s(body: Any, kind: type[Exception]) -> None:
    assert isinstance(read_error(429, body, SERVER), kind)


def failed(status: str, reason: str | None = None) -> dict[str, Any]:
    details = [{"@type": "google.rpc.ErrorInfo", "reason": reason}] if reason else []
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
def test_other_errors(status: int, body: Any, kind: type[Exception]) -> None:
    error = read_error(status, body, SERVER)
    assert isinstance(error, kind)
    assert "SECRET" not in str(error)


def answer(text: str = json.dumps([PAIR]), finish: str = "STOP", **more: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 2}
    candidate = {"content": {"parts": [{"text": "hm", "thought": True}, {"text": text}]}, "finishReason": finish}
    return {"candidates": [candidate], "usageMetadata": usage} | more


def test_an_answer_with_its_tokens() -> None:
    reply = read_answer(answer(), CONTENT)
    assert reply.pairs[0].question == PAIR["question"]
    assert (reply.tokens_in, reply.tokens_out) == (7, 7)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (answer(finish="MAX_TOKENS"), InvalidAnswerError),
        (answer(finish="OTHER"), InvalidAnswerError),
        (answer(text="[{"), InvalidAnswerError),
        (answer(candidates=[]), InvalidAnswerError),
        (answer(candidates=[{"finishReason": "STOP"}]), InvalidAnswerError),
        (answer(finish="SAFETY"), BlockedAnswerError),
        (answer(finish="RECITATION"), BlockedAnswerError),
        (answer(promptFeedback={"blockReason": "PROHIBITED_CONTENT"}), BlockedAnswerError),
    ],
)
def test_a_200_that_holds_no_pairs(body: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as e:
        read_answer(body, CONTENT)
    assert e.value.tokens == (7, 7)
