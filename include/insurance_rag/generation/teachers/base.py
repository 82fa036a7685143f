"""The `Teacher` protocol, and the records that its methods take and return."""

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
    """Verbatim quote from the chunk that supports the answer."""


@dataclass(frozen=True)
class TeacherAnswer:
    """The pairs and the token counts from one call. The counts are 0 if the server does not report them."""

    pairs: list[Pair]
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class RepairRequest:
    """A second request for the faulty pairs of a chunk."""

    prompt_spec: PromptSpec
    """Prompt specification with only the question types of the faulty pairs."""
    note: str
    """Description of the faults, which is appended to the prompt."""


class Teacher(Protocol):
    """Generates pairs for one chunk per call."""

    max_retries: int
    """Maximum number of retries per chunk after a temporary failure or an unreadable answer."""

    def request_characters(self, chunk: Chunk, repair: RepairRequest | None = None) -> int:
        """Return the number of characters in the request. The rate limiter estimates the token count from it."""
        ...

    async def generate(self, chunk: Chunk, repair: RepairRequest | None = None) -> TeacherAnswer:
        """Return pairs for `chunk`, or new versions of its faulty pairs if `repair` is given.

        Raises RateLimitError, QuotaExhaustedError, KeyRejectedError (or its subclass ProjectRejectedError),
        ServerUnavailableError, InvalidAnswerError, BlockedAnswerError (or its subclass InvalidRequestError) or
        InvalidInputError.
        """
        ...

    async def close(self) -> None:
        """Release connections and memory."""
        ...
