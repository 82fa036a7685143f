"""The local 4-bit teacher of the source's phases 1 and 2: prompt, `질문:` / `답변:`, groundedness check, three retries."""

from __future__ import annotations

import asyncio
from typing import Any

from insurance_rag.config import GenerationConfig
from insurance_rag.errors import BadAnswer, WrongInput
from insurance_rag.generation.parse import parse_labelled
from insurance_rag.generation.prompt import render
from insurance_rag.generation.teacher import Pair, Reply
from insurance_rag.records import Chunk
from insurance_rag.shards.content import Content

TRIES = 4  # one and three retries, SPEC section 4


class LocalTeacher:
    """A Hugging Face model in NF4 on this machine, one clause at a time."""

    def __init__(self, config: GenerationConfig, content: Content) -> None:
        self._config, self._content = config, content
        self._busy = asyncio.Lock()
        self._loaded: tuple[Any, Any] | None = None

    async def close(self) -> None:
        self._loaded = None

    def size(self, chunk: Chunk) -> int:
        return len(render(self._content, chunk))

    async def ask(self, chunk: Chunk) -> Reply:
        async with self._busy:
            return await asyncio.to_thread(self._ask, chunk)

    def _ask(self, chunk: Chunk) -> Reply:
        raise NotImplementedError
