"""What teachers behind an HTTP API share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insurance_rag.core.errors import BlockedAnswerError, InvalidAnswerError
from insurance_rag.generation.teachers.base import TeacherAnswer, TeacherRequest
from insurance_rag.rate_limit.timeouts import call_timeout_s

if TYPE_CHECKING:
    from insurance_rag.config import GenerationConfig
    from insurance_rag.llm.client import AsyncClient, Completion
    from insurance_rag.planning.prompt_spec import PromptSpec

WARMER = 0.3
"""Added to the temperature when a request is repeated in a different way."""
MAX_TEMPERATURE = 1.5


class HttpTeacher:
    """Base class with the HTTP client, the prompt and its size."""

    def __init__(self, client: AsyncClient, config: GenerationConfig, prompt_spec: PromptSpec) -> None:
        # `parse` is loaded now: loading it during the first answers would delay their journal records.
        from insurance_rag.generation import parse  # noqa: F401

        self.client = client
        self.max_retries = config.max_retries
        self._config, self._prompt_spec = config, prompt_spec

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def request_characters(self, request: TeacherRequest) -> int:
        """Return the number of characters in the prompt."""
        return len(self._prompt(request))

    def _prompt(self, request: TeacherRequest) -> str:
        from insurance_rag.generation.prompt import render

        return render(self._prompt_spec, request.chunks, repair=request.repair, paraphrase=request.variant.paraphrase)

    def _temperature(self, request: TeacherRequest) -> float:
        from insurance_rag.llm.catalog import temperature

        normal = temperature(self._config)
        return min(MAX_TEMPERATURE, normal + WARMER) if request.variant.warmer else normal

    def _timeout_s(self, request: TeacherRequest) -> float:
        return call_timeout_s(self._config.timeout_s, len(request.chunks))


def to_answer(completion: Completion, request: TeacherRequest) -> TeacherAnswer:
    """Return the pairs in a completion.

    Raises InvalidAnswerError with token counts if the completion contains no usable pair.
    """
    from insurance_rag.generation.parse import parse_answer

    try:
        parsed = parse_answer(completion.text, request.chunks)
    except (InvalidAnswerError, BlockedAnswerError) as e:
        e.tokens = (completion.tokens_in, completion.tokens_out)
        raise
    return TeacherAnswer(
        parsed.pairs,
        completion.tokens_in,
        completion.tokens_out,
        model=completion.model,
        is_cut=parsed.is_cut or completion.is_cut,
        dropped=parsed.dropped,
    )
