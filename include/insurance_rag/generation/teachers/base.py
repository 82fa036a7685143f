"""A teacher answers one clause with question-answer pairs. Three kinds behind one small protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import KeyRejectedError, RateLimitError
from insurance_rag.core.records import ApiKey, Chunk, QuestionType
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.rate_limit.quota import Metric


@dataclass(frozen=True)
class Pair:
    type: QuestionType
    question: str
    answer: str
    evidence: str = ""


@dataclass(frozen=True)
class Reply:
    """`tokens_in` is 0 where the server does not count."""

    pairs: list[Pair]
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Correction:
    """What is asked once more: the types of the faulty pairs alone, and the note that names the faults."""

    content: PromptSpec
    note: str


class Teacher(Protocol):
    """`ask` raises Refusal, QuotaExhaustedError, KeyRejectedError, ServerUnavailableError, InvalidAnswerError, BlockedAnswerError or InvalidRequestError."""

    max_retries: int  # of one clause, after a passing fault or an answer that cannot be read

    def size(self, chunk: Chunk, correction: Correction | None = None) -> int:
        """Characters of the request, of which the limiter estimates its tokens."""
        ...

    async def ask(self, chunk: Chunk, correction: Correction | None = None) -> Reply: ...

    async def close(self) -> None: ...


class Refusal(RateLimitError):
    """A 429 of a minute's quota: which one, and its size where the server says it."""

    def __init__(
        self, message: str, metric: Metric = "requests", limit: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, retry_after_s)
        self.metric: Metric = metric
        self.limit = limit


class ProjectRejectedError(KeyRejectedError):
    """The whole project has no quota for this model (`limit: 0`): waiting never helps."""


def make_teacher(config: GenerationConfig, key: ApiKey) -> Teacher:
    """The teacher of `config`; only its own module is imported."""
    content = PromptSpec.from_config(config)
    if config.teacher == "openai":
        from insurance_rag.generation.teachers.openai import OpenAITeacher

        return OpenAITeacher(config, key, content)
    if config.teacher == "local":
        from insurance_rag.generation.teachers.local import LocalTeacher

        return LocalTeacher(config, content)
    from insurance_rag.generation.teachers.gemini import GeminiTeacher

    return GeminiTeacher(config, key, content)
