"""What teachers behind an HTTP API share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insurance_rag.generation.teachers.base import RepairRequest

if TYPE_CHECKING:
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records import Chunk
    from insurance_rag.llm.client import AsyncClient
    from insurance_rag.planning.prompt_spec import PromptSpec


class HttpTeacher:
    """Base class with the HTTP client, the prompt and its size."""

    def __init__(self, client: AsyncClient, config: GenerationConfig, prompt_spec: PromptSpec) -> None:
        # `parse` is loaded now: loading it during the first answers would delay their journal records.
        from insurance_rag.generation import parse  # noqa: F401

        self.client = client
        self.max_retries = config.max_retries
        self._config = config
        self._first = RepairRequest(prompt_spec, note="")

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def request_characters(self, chunk: Chunk, repair: RepairRequest | None = None) -> int:
        """Return the number of characters in the prompt."""
        return len(self._prompt(chunk, repair))

    def _prompt(self, chunk: Chunk, repair: RepairRequest | None) -> str:
        from insurance_rag.generation.prompt import render

        request = repair or self._first
        return render(request.prompt_spec, chunk, request.note)
