"""Errors, named after what the operator must do.

Each class carries the exit code of the command line, so that a task, a pod and a person see the same verdict:
1 anything else, 2 wrong input, 3 incomplete but resumable, 4 refused by a gate. Messages never hold a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime


class PipelineError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code = 1


# ---- mend the input, then run again


class InvalidInputError(PipelineError):
    """The input is wrong; every problem found is listed, each naming its file, line and way out."""

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} problems:\n  - "
        super().__init__(head + "\n  - ".join(self.problems))

    def __reduce__(self) -> tuple[type[InvalidInputError], tuple[list[str]]]:
        return type(self), (self.problems,)


# ---- run the same command again: what is done is kept


class IncompleteError(PipelineError):
    """The work is partly done and kept; the same command resumes it."""

    exit_code = 3


class QuotaExhaustedError(IncompleteError):
    """The day's quota of a project is used up; resume after `resets_at`."""

    def __init__(self, message: str, resets_at: datetime | None = None) -> None:
        super().__init__(message)
        self.resets_at = resets_at


class InterruptedRunError(IncompleteError):
    """A signal asked the work to stop; a checkpoint was saved."""


class BudgetExceededError(IncompleteError):
    """The run's budget is used up; raise it and run again."""


# ---- replace the key, then run again


class KeyRejectedError(IncompleteError):
    """The API refuses this key for good (invalid, leaked, suspended, or `limit: 0`)."""


# ---- nothing to do: the client or the pipeline handles these


class RateLimitError(PipelineError):
    """429 of a minute's quota: wait `retry_after_s`, then ask again."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerUnavailableError(PipelineError):
    """A passing fault of the server or the network: ask again with backoff."""


class InvalidAnswerError(PipelineError):
    """The answer cannot be read (cut, empty, not JSON): ask again, then quarantine the chunk."""

    tokens = (0, 0)  # in and out, which are paid nevertheless


class BlockedAnswerError(PipelineError):
    """The API refuses this clause for good: quarantine the chunk and go on."""

    tokens = (0, 0)  # in and out, which are paid nevertheless


# ---- a gate said no


class GateRejectedError(PipelineError):
    """A gate refuses the result; the message says by which rule."""

    exit_code = 4


class GpuMemoryError(PipelineError):
    """The GPU is too small for these settings even at micro-batch 1; the message names what to change."""
