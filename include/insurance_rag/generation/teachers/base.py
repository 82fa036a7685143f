"""The `Teacher` protocol, and the records that its methods take and return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from insurance_rag.core.records import QuestionType
    from insurance_rag.generation.prompt import ChunkRequest


@dataclass(frozen=True)
class Pair:
    """A generated question-answer pair."""

    type: QuestionType
    question: str
    answer: str
    evidence: str = ""
    """Verbatim quote from the chunk that supports the answer."""


@dataclass(frozen=True)
class Variant:
    """A way to ask that differs from the first one. It is used after an answer that was blocked or unusable."""

    warmer: bool = False
    """Whether to raise the temperature."""
    paraphrase: bool = False
    """Whether to forbid quotations from the chunk."""


FIRST_VARIANT = Variant()
"""How a chunk is asked about first."""


@dataclass(frozen=True)
class TeacherRequest:
    """One call: pairs for several chunks, or replacements for their faulty pairs."""

    chunks: tuple[ChunkRequest, ...]
    repair: bool = False
    variant: Variant = FIRST_VARIANT

    @property
    def pairs(self) -> int:
        """Number of pairs that the call asks for."""
        return sum(len(chunk.pairs) for chunk in self.chunks)


@dataclass(frozen=True)
class TeacherAnswer:
    """The pairs and the token counts from one call. The counts are 0 if the server does not report them."""

    pairs: list[list[Pair]]
    """The pairs for each chunk of the request, in the order of the request. A list is empty if the chunk has no usable
    pair."""
    tokens_in: int = 0
    tokens_out: int = 0
    model: str = ""
    """Model that answered, as reported by the server; empty if it is not reported."""
    is_cut: bool = False
    """Whether the answer ended too early, so that later chunks and pairs are missing."""
    dropped: list[str] = field(default_factory=list)
    """Descriptions of the items that belong to no requested pair."""


class Teacher(Protocol):
    """Generates pairs for one or more chunks per call."""

    max_retries: int
    """Maximum number of retries per chunk after a temporary failure or an unreadable answer."""

    def request_characters(self, request: TeacherRequest) -> int:
        """Return the number of characters in the request. The rate limiter estimates the token count from it."""
        ...

    async def generate(self, request: TeacherRequest) -> TeacherAnswer:
        """Return the pairs that `request` asks for. At least one chunk has a pair.

        Raises RateLimitError, QuotaExhaustedError, KeyRejectedError (or its subclass ProjectRejectedError),
        ServerUnavailableError, InvalidAnswerError, BlockedAnswerError (or its subclass InvalidRequestError) or
        InvalidInputError.
        """
        ...

    async def close(self) -> None:
        """Release connections and memory."""
        ...
