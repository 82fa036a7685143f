"""The interface of the backends that generate answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from insurance_rag.config import DecodingConfig
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest

OnAnswer = Callable[[GenerationRequest, GeneratedAnswer], None]


class ModelBackend(Protocol):
    """Answers requests with the base model and its adapters. Use it as a context manager to free its resources."""

    @property
    def identities(self) -> Mapping[str, str]:
        """For each model name, a string that identifies weights and precision. Answer keys depend on this string."""

    @property
    def context_limit(self) -> int:
        """Maximum number of tokens in the prompt and the answer together."""

    def count_tokens(self, prompt: str, prompt_format: str, /) -> int:
        """Return the number of tokens in a prompt, or an upper bound for it."""

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer, /) -> None:
        """Answer all requests, in any order. Call `on_answer` for each answer as soon as it is finished."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...
