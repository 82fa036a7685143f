"""What the evaluation expects of a backend that answers requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from insurance_rag.config import DecodingConfig
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest

OnAnswer = Callable[[GenerationRequest, GeneratedAnswer], None]


class ModelBackend(Protocol):
    """Answers requests with the base model and its adapters. Used as a context manager that frees what it holds."""

    @property
    def identities(self) -> Mapping[str, str]:
        """Model name -> text that identifies its weights and precision; part of the key of every answer."""

    @property
    def context_limit(self) -> int:
        """Tokens of prompt and answer together."""

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of `text`, or an upper bound."""

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer, /) -> None:
        """Answer all requests; call `on_answer` for each as soon as it is finished, in any order."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...
