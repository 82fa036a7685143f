"""The Gemini teacher, which sends one chunk per generateContent call and requires an answer that fits a JSON schema."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from insurance_rag.core.errors import BlockedAnswerError, InvalidAnswerError
from insurance_rag.generation.teachers.base import RepairRequest, TeacherAnswer
from insurance_rag.generation.teachers.http_teacher import HttpTeacher
from insurance_rag.generation.teachers.registry import teacher

if TYPE_CHECKING:
    from pydantic import JsonValue

    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records import ApiKey, Chunk
    from insurance_rag.planning.prompt_spec import PromptSpec


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

    def body(self, chunk: Chunk, repair: RepairRequest | None = None) -> dict[str, JsonValue]:
        """Return the JSON body of the request."""
        from insurance_rag.generation.prompt import answer_schema
        from insurance_rag.llm import gemini

        schema = answer_schema((repair or self._first).prompt_spec)
        return gemini.content_body(self._prompt(chunk, repair), self._config.temperature, schema)

    async def generate(self, chunk: Chunk, repair: RepairRequest | None = None) -> TeacherAnswer:
        """See `Teacher.generate`."""
        from insurance_rag.llm import gemini

        path = gemini.content_path(self._config.model)
        response = await self.client.request("POST", path, self.body(chunk, repair))
        if response.status != 200:
            raise gemini.read_error(self.client, response)
        if not isinstance(response.body, dict):
            raise self.client.invalid_body()
        return read_answer(response.body, (repair or self._first).prompt_spec)


def read_answer(body: dict[str, JsonValue], prompt_spec: PromptSpec) -> TeacherAnswer:
    """Return the pairs from a generateContent response, which may come from an ordinary call or from batch mode.

    Raises BlockedAnswerError if the API blocked the request or its answer. Raises InvalidAnswerError if the answer is
    unusable; another request may then succeed. Both errors carry token counts.
    """
    from insurance_rag.generation.parse import parse_json
    from insurance_rag.llm import gemini

    completion = gemini.read_completion(body)
    try:
        pairs = parse_json(completion.text, prompt_spec.types)
    except (InvalidAnswerError, BlockedAnswerError) as e:
        e.tokens = (completion.tokens_in, completion.tokens_out)
        raise
    return TeacherAnswer(pairs, completion.tokens_in, completion.tokens_out)
