"""The teacher for OpenAI-compatible servers: vLLM, Ollama, llama.cpp or OpenAI.

It requests chat completions that must fit a JSON schema.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.generation.teachers.base import TeacherAnswer, TeacherRequest
from insurance_rag.generation.teachers.http_teacher import HttpTeacher, to_answer
from insurance_rag.generation.teachers.registry import teacher

if TYPE_CHECKING:
    from pydantic import JsonValue

    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records import ApiKey
    from insurance_rag.planning.prompt_spec import PromptSpec


@teacher(
    "openai",
    title="OpenAI-compatible server",
    description="Any server with OpenAI's chat completions API: vLLM, Ollama, llama.cpp, OpenAI.",
    key_variable="OPENAI_API_KEYS",
    limits_requests=False,
)
class OpenAITeacher(HttpTeacher):
    """A teacher that calls /v1/chat/completions.

    The prompt describes the answer format too, because some servers ignore the JSON schema.
    """

    def __init__(self, config: GenerationConfig, key: ApiKey, prompt_spec: PromptSpec) -> None:
        """Create the HTTP client. Raises InvalidInputError if the base URL is missing or not an HTTP URL."""
        from insurance_rag.llm import openai
        from insurance_rag.llm.client import AsyncClient

        base_url = config.base_url or os.environ.get("OPENAI_BASE_URL")
        if not base_url:
            raise InvalidInputError(
                "the openai teacher needs an address: set --base-url or OPENAI_BASE_URL, e.g. http://127.0.0.1:8000/v1"
            )
        root = base_url.removesuffix("/").removesuffix("/v1")
        client = AsyncClient(root, key.key, openai.bearer(key.key), config.timeout_s)
        super().__init__(client, config, prompt_spec)

    def body(self, request: TeacherRequest) -> dict[str, JsonValue]:
        """Return the JSON body of the request."""
        from insurance_rag.generation.prompt import answer_schema
        from insurance_rag.llm import openai

        pairs = answer_schema(request.chunks)
        # A strict JSON schema must have an object at its root.
        schema: JsonValue = {"type": "object", "properties": {"pairs": pairs}, "required": ["pairs"]}
        response_format: dict[str, JsonValue] = {
            "type": "json_schema",
            "json_schema": {"name": "pairs", "schema": schema},
        }
        return openai.chat_body(self._config.model, self._prompt(request), self._temperature(request), response_format)

    async def generate(self, request: TeacherRequest) -> TeacherAnswer:
        """See `Teacher.generate`."""
        from insurance_rag.llm import openai

        path, timeout_s = "/v1/chat/completions", self._timeout_s(request)
        response = await self.client.request("POST", path, self.body(request), timeout_s)
        if response.status != 200:
            raise openai.read_error(self.client, response)
        if not isinstance(response.body, dict):
            raise self.client.invalid_body()
        return to_answer(openai.read_completion(response.body), request)
