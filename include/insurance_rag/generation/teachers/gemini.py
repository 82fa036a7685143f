"""The Gemini teacher, which calls generateContent and requires an answer that fits a JSON schema."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from insurance_rag.generation.teachers.base import TeacherAnswer, TeacherRequest
from insurance_rag.generation.teachers.http_teacher import HttpTeacher, to_answer
from insurance_rag.generation.teachers.registry import teacher

if TYPE_CHECKING:
    from pydantic import JsonValue

    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records import ApiKey
    from insurance_rag.planning.prompt_spec import PromptSpec

OUTPUT_TOKENS_PER_CALL = 1024
OUTPUT_TOKENS_PER_PAIR = 1024
"""Several times the tokens of a normal pair, so that only answers that went wrong are cut."""
NO_THINKING: tuple[dict[str, JsonValue], ...] = ({"thinkingLevel": "minimal"}, {"thinkingBudget": 0})
"""Settings with which a model writes no thinking tokens. Thinking tokens count toward the maximum length of an answer.
With other settings, an answer may therefore be as long as the model allows."""


@teacher(
    "gemini",
    title="Google Gemini",
    description="Google's Gemini API, or the Gemini simulator.",
    key_variable="GEMINI_API_KEYS",
    model_variable="GEMINI_MODEL",
    key_required=True,
    supports_batch=True,
)
class GeminiTeacher(HttpTeacher):
    """A teacher that calls the generateContent method of the Gemini API."""

    def __init__(self, config: GenerationConfig, key: ApiKey, prompt_spec: PromptSpec) -> None:
        """Create the HTTP client. Raises InvalidInputError if the base URL is not an HTTP URL."""
        from insurance_rag.llm import gemini
        from insurance_rag.llm.client import AsyncClient

        base_url = config.base_url or os.environ.get("GEMINI_BASE_URL") or gemini.BASE_URL
        client = AsyncClient(base_url, key.key, gemini.api_key_header(key.key), config.timeout_s)
        super().__init__(client, config, prompt_spec)

    def body(self, request: TeacherRequest) -> dict[str, JsonValue]:
        """Return the JSON body of the request."""
        from insurance_rag.generation.prompt import answer_schema
        from insurance_rag.llm import catalog, gemini

        thinking = catalog.thinking_config(self._config)
        limit = catalog.max_output_tokens(self._config.model)
        if limit and thinking in NO_THINKING:
            limit = min(expected_tokens(request), limit)
        return gemini.content_body(
            self._prompt(request),
            self._temperature(request),
            answer_schema(request.chunks),
            max_output_tokens=limit,
            thinking=thinking,
        )

    async def generate(self, request: TeacherRequest) -> TeacherAnswer:
        """See `Teacher.generate`."""
        from insurance_rag.llm import gemini

        path = gemini.content_path(self._config.model)
        response = await self.client.request("POST", path, self.body(request), self._timeout_s(request))
        if response.status != 200:
            raise gemini.read_error(self.client, response)
        if not isinstance(response.body, dict):
            raise self.client.invalid_body()
        return read_answer(response.body, request)


def expected_tokens(request: TeacherRequest) -> int:
    """Return the number of output tokens at which an answer is cut, because it must have gone wrong."""
    return OUTPUT_TOKENS_PER_CALL + OUTPUT_TOKENS_PER_PAIR * request.pairs


def read_answer(body: dict[str, JsonValue], request: TeacherRequest) -> TeacherAnswer:
    """Return the pairs from a generateContent response, which may come from an ordinary call or from batch mode.

    Raises BlockedAnswerError if the API blocked the request or its answer. Raises InvalidAnswerError if the answer is
    unusable; another request may then succeed. Both errors carry token counts.
    """
    from insurance_rag.llm import gemini

    return to_answer(gemini.read_completion(body), request)
