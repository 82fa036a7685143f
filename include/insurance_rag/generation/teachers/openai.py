"""Any server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp, OpenAI itself."""

from __future__ import annotations

import os
from typing import Any

import httpx

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BlockedAnswerError,
    InvalidAnswerError,
    InvalidInputError,
    QuotaExhaustedError,
    ServerUnavailableError,
)
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.generation.parse import parse_json
from insurance_rag.generation.prompt import answer_schema, render
from insurance_rag.generation.teachers.base import Correction, Refusal, Reply
from insurance_rag.llm.client import Server
from insurance_rag.planning.prompt_spec import PromptSpec


class OpenAITeacher:
    """/v1/chat/completions, the answer bound to a JSON schema where the server can, else asked for in the prompt."""

    def __init__(self, config: GenerationConfig, key: ApiKey, content: PromptSpec) -> None:
        base = config.base_url or os.environ.get("OPENAI_BASE_URL")
        if not base:
            raise InvalidInputError(
                "the openai teacher needs --base-url (or OPENAI_BASE_URL), e.g. http://127.0.0.1:8000/v1"
            )
        secret = key.key.get_secret_value()
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        self.server = Server(base.removesuffix("/").removesuffix("/v1"), key, headers, config.timeout_s)
        self._config, self._first, self.max_retries = config, Correction(content, ""), config.max_retries

    async def close(self) -> None:
        await self.server.close()

    def size(self, chunk: Chunk, correction: Correction | None = None) -> int:
        wanted = correction or self._first
        return len(render(wanted.content, chunk, wanted.note))

    def body(self, chunk: Chunk, correction: Correction | None = None) -> dict[str, Any]:
        wanted = correction or self._first
        # The root of a strict schema has to be an object.
        schema = {"type": "object", "properties": {"pairs": answer_schema(wanted.content)}, "required": ["pairs"]}
        return {
            "model": self._config.model,
            "messages": [{"role": "user", "content": render(wanted.content, chunk, wanted.note)}],
            "temperature": self._config.temperature,
            "response_format": {"type": "json_schema", "json_schema": {"name": "pairs", "schema": schema}},
        }

    async def ask(self, chunk: Chunk, correction: Correction | None = None) -> Reply:
        body = self.body(chunk, correction)
        status, answer, headers = await self.server.request("POST", "/v1/chat/completions", body)
        if status != 200:
            raise self._error(status, answer, headers)
        if not isinstance(answer, dict):
            raise ServerUnavailableError(f"200 without JSON from {self.server.base_url}")
        choices = answer.get("choices") or []
        if not choices:
            raise InvalidAnswerError("no choices")
        finish = choices[0].get("finish_reason") or "stop"
        if finish == "content_filter":
            raise BlockedAnswerError("answer blocked: content_filter")
        if finish != "stop":
            raise InvalidAnswerError(f"finish_reason {finish}")
        usage = answer.get("usage") or {}
        types = (correction or self._first).content.types
        pairs = parse_json((choices[0].get("message") or {}).get("content") or "", types)
        return Reply(pairs, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))

    def _error(self, status: int, answer: Any, headers: httpx.Headers) -> Exception:
        error = answer.get("error") if isinstance(answer, dict) else None
        error = error if isinstance(error, dict) else {}
        message = self.server.scrub(error.get("message") or f"HTTP {status}")
        if status != 429:
            return self.server.failure(status, message)
        if error.get("code") == "insufficient_quota":
            return QuotaExhaustedError(f"no quota left: {message}")
        wait = headers.get("retry-after", "")
        return Refusal(message, retry_after_s=float(wait) if wait.replace(".", "", 1).isdecimal() else None)
