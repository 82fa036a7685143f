"""The protocol of a teacher, and the records it takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from insurance_rag.core.records import Chunk, QuestionType
    from insurance_rag.planning.prompt_spec import PromptSpec


@dataclass(frozen=True)
class Pair:
    """A generated question-answer pair."""

    type: QuestionType
    question: str
    answer: str
    evidence: str = ""
    """Verbatim quote of the chunk that supports the answer."""


@dataclass(frozen=True)
class TeacherAnswer:
    """The pairs of one call, with its tokens; 0 where the server does not count them."""

    pairs: list[Pair]
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class RepairRequest:
    """A second request for the faulty pairs of a chunk."""

    prompt_spec: PromptSpec
    """Asks only for the question types of the faulty pairs."""
    note: str
    """Names the faults; added after the prompt."""


class Teacher(Protocol):
    """Generates the pairs of one chunk per call."""

    max_retries: int
    """Retries per chunk after a temporary failure or an unreadable answer."""

    def request_characters(self, chunk: Chunk, repair: RepairRequest | None = None) -> int:
        """Return the characters of the request, from which the rate limiter estimates its tokens."""
        ...

    async def generate(self, chunk: Chunk, repair: RepairRequest | None = None) -> TeacherAnswer:
        """Return the pairs of `chunk`, or new versions of its faulty pairs.

        Raises RateLimitError, QuotaExhaustedError, KeyRejectedError (ProjectRejectedError), ServerUnavailableError,
        InvalidAnswerError, BlockedAnswerError (InvalidRequestError) or InvalidInputError.
        """
        ...

    async def close(self) -> None:
        """Release connections and memory."""
        ...
