"""Google's Gemini API: what is sent, and what each of its answers means, by its structured fields and never by prose.

Sources: https://ai.google.dev/gemini-api/docs/rate-limits and /troubleshooting; google.rpc.QuotaFailure, RetryInfo.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BlockedAnswerError,
    InvalidAnswerError,
    KeyRejectedError,
    QuotaExhaustedError,
    ServerUnavailableError,
)
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.generation.parse import parse_json
from insurance_rag.generation.prompt import answer_schema, render
from insurance_rag.generation.teachers.base import Correction, ProjectRejectedError, Refusal, Reply
from insurance_rag.llm.client import Server
from insurance_rag.planning.prompt_spec import PromptSpec

GOOGLE = "https://generativelanguage.googleapis.com"
BLOCKING = {"SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"}


class GeminiTeacher:
    """generateContent, one clause a call, the answer bound to a JSON schema."""

    def __init__(self, config: GenerationConfig, key: ApiKey, content: PromptSpec) -> None:
        base = config.base_url or os.environ.get("GEMINI_BASE_URL") or GOOGLE
        headers = {"x-goog-api-key": key.key.get_secret_value()}
        self.server = Server(base, key, headers, config.timeout_s)
        self._config, self._first, self.max_retries = config, Correction(content, ""), config.max_retries
        self._path = f"/v1beta/models/{config.model}:generateContent"

    async def close(self) -> None:
        await self.server.close()

    def size(self, chunk: Chunk, correction: Correction | None = None) -> int:
        wanted = correction or self._first
        return len(render(wanted.content, chunk, wanted.note))

    def body(self, chunk: Chunk, correction: Correction | None = None) -> dict[str, Any]:
        wanted = correction or self._first
        return {
            "contents": [{"role": "user", "parts": [{"text": render(wanted.content, chunk, wanted.note)}]}],
            "generationConfig": {
                "temperature": self._config.temperature,
                "responseMimeType": "application/json",
                "responseSchema": answer_schema(wanted.content),
            },
        }

    async def ask(self, chunk: Chunk, correction: Correction | None = None) -> Reply:
        status, answer, _ = await self.server.request("POST", self._path, self.body(chunk, correction))
        if status != 200:
            raise read_error(status, answer, self.server)
        if not isinstance(answer, dict):
            raise ServerUnavailableError(f"200 without JSON from {self.server.base_url}")
        return read_answer(answer, (correction or self._first).content)


def read_answer(answer: dict[str, Any], content: PromptSpec) -> Reply:
    """The pairs of a 200; BlockedAnswerError, or InvalidAnswerError where asking again may help."""
    tokens = read_usage(answer)
    try:
        return Reply(parse_json(_text(answer), content.types), *tokens)
    except (InvalidAnswerError, BlockedAnswerError) as e:
        e.tokens = tokens
        raise


def read_usage(answer: dict[str, Any]) -> tuple[int, int]:
    """Tokens in and out; thinking is paid as output."""
    usage = answer.get("usageMetadata") or {}
    return usage.get("promptTokenCount", 0), usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)


def _text(answer: dict[str, Any]) -> str:
    if reason := (answer.get("promptFeedback") or {}).get("blockReason"):
        raise BlockedAnswerError(f"prompt blocked: {reason}")
    candidates = answer.get("candidates") or []
    if not candidates:
        raise InvalidAnswerError("no candidates")
    finish = candidates[0].get("finishReason", "STOP")
    if finish in BLOCKING:
        raise BlockedAnswerError(f"answer blocked: {finish}")
    if finish != "STOP":  # MAX_TOKENS: cut; OTHER ...: another draw may pass
        raise InvalidAnswerError(f"finishReason {finish}")
    parts = (candidates[0].get("content") or {}).get("parts") or []
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def read_error(status: int, answer: Any, server: Server) -> Exception:
    """The error's name, from `error.details` where there are any."""
    error = answer.get("error") if isinstance(answer, dict) else None
    error = error if isinstance(error, dict) else {}
    message = server.scrub(error.get("message") or f"HTTP {status}")
    details = [d for d in error.get("details") or [] if isinstance(d, dict)]
    if status == 429:
        return _quota_error(details, message)
    reasons = {detail.get("reason") for detail in details}
    if "API_KEY_INVALID" in reasons or error.get("status") == "FAILED_PRECONDITION":  # the latter: billing, country
        return KeyRejectedError(f"{status} {error.get('status', '')}: {message}")
    return server.failure(status, message)


def _quota_error(details: list[dict[str, Any]], message: str) -> Exception:
    violations = list(_violations(details))
    if any(size == 0 for _, size in violations):
        return ProjectRejectedError(f"limit: 0 for this model ({violations[0][0]})")
    if any("PerDay" in name for name, _ in violations):
        return QuotaExhaustedError(f"the day's quota is used up: {message}")
    wait = next((_seconds(d["retryDelay"]) for d in details if d.get("retryDelay")), None)
    if not violations:
        return Refusal(message, retry_after_s=wait)
    name, size = violations[0]
    return Refusal(message, "tokens" if "Token" in name else "requests", size, wait)


def _violations(details: list[dict[str, Any]]) -> Iterator[tuple[str, int | None]]:
    """(quotaId, quotaValue) of each violation. proto3 leaves a zero out: a quota without its value is `limit: 0`."""
    for detail in details:
        for violation in detail.get("violations") or []:
            value = str(violation.get("quotaValue", 0))
            yield str(violation.get("quotaId", "")), int(value) if value.isdecimal() else None


def _seconds(duration: str) -> float | None:
    """`"42.5s"` (google.protobuf.Duration in JSON)."""
    try:
        return float(str(duration).removesuffix("s"))
    except ValueError:
        return None
