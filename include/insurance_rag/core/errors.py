"""Errors, grouped by what the operator must do.

Every error class has an exit code: 2 for invalid input, 3 for incomplete work that can be resumed, 4 for a result that
a gate rejected, 1 for anything else. Tasks, pods and people on the command line thus see the same outcome. Error
messages never contain a secret.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Self


class PipelineError(Exception):
    """Base class of every error that this package raises on purpose."""

    exit_code = 1

    def fresh(self, message: str | None = None) -> Self:
        """Return a copy without traceback and cause. If `message` is given, it replaces the original message.

        Raise such a copy instead of a stored error. Every `raise` of the same object appends frames to its traceback.
        If several coroutines raise the object, the traceback grows to hundreds of frames.
        """
        copied = copy.copy(self)
        if message is not None:
            copied.args = (message,)
        return copied.with_traceback(None)


# ---- fix the input, then run again


@dataclass(frozen=True)
class LineProblem:
    """A problem in one line of a file."""

    path: Path | str
    line: int
    message: str
    """What is wrong and what to do. Lines with the same problem must have the same message, so that they can be
    grouped."""


class InvalidInputError(PipelineError):
    """The input is invalid. The message lists every problem: what is wrong, where, and what to do."""

    exit_code = 2

    def __init__(self, problems: str | Iterable[str | LineProblem]) -> None:
        listed = [problems] if isinstance(problems, str) else list(problems)
        self.problems = group_problems(listed)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} problems:\n  - "
        super().__init__(head + "\n  - ".join(self.problems))

    def __reduce__(self) -> tuple[type[InvalidInputError], tuple[list[str]]]:
        return type(self), (self.problems,)

    def fresh(self, message: str | None = None) -> Self:
        """Return a copy without traceback and cause. If `message` is given, it replaces the list of problems."""
        return type(self)(self.problems if message is None else message)


def group_problems(problems: Sequence[str | LineProblem]) -> list[str]:
    """Return one message per problem. If several lines of a file have the same problem, one message covers all of them.

    >>> group_problems([LineProblem("a.jsonl", 3, "unknown field 'x'"), LineProblem("a.jsonl", 5, "unknown field 'x'")])
    ["a.jsonl: 2 lines, first at line 3: unknown field 'x'"]
    """
    lines: dict[tuple[str, str], list[int]] = {}
    order: list[str | tuple[str, str]] = []
    for problem in problems:
        if isinstance(problem, str):
            order.append(problem)
            continue
        key = (str(problem.path), problem.message)
        if key not in lines:
            order.append(key)
        lines.setdefault(key, []).append(problem.line)
    return [entry if isinstance(entry, str) else _grouped(*entry, lines[entry]) for entry in order]


def _grouped(path: str, message: str, lines: list[int]) -> str:
    if len(lines) == 1:
        return f"{path}:{lines[0]}: {message}"
    return f"{path}: {len(lines)} lines, first at line {lines[0]}: {message}"


# ---- run the same command again: finished work is kept


class IncompleteError(PipelineError):
    """The work is incomplete. Finished work is kept, and the same command resumes the rest."""

    exit_code = 3


class LogChangedError(IncompleteError):
    """Another machine appended to a shared file at the same moment. Read its records, then decide again."""


class RepairsPendingError(IncompleteError):
    """Every chunk is answered, but an error stopped the shard before it requested the faulty pairs again."""


class QuotaExhaustedError(IncompleteError):
    """The daily quota of a project is used up. The work can be resumed after `resets_at`."""

    def __init__(self, message: str, resets_at: datetime | None = None) -> None:
        super().__init__(message)
        self.resets_at = resets_at


class InterruptedRunError(IncompleteError):
    """A signal asked the work to stop; a checkpoint was saved."""


class BudgetExceededError(IncompleteError):
    """The budget of the run is used up. Raise the budget, then run the same command again."""


# ---- replace the key, then run again


class KeyRejectedError(IncompleteError):
    """The API permanently rejects this key. The key is invalid, leaked or suspended, or its quota is 0 (`limit: 0`)."""


class ProjectRejectedError(KeyRejectedError):
    """The key's whole project has no quota for this model (`limit: 0`), so waiting does not help."""


# ---- nothing to do: the client or the pipeline handles these


class RateLimitError(PipelineError):
    """A per-minute quota rejected the request (429). Wait `retry_after_s` seconds, then send the request again.

    `metric` is what the quota counts. `limit` is the size of the quota, or None if the server does not report it.
    """

    def __init__(
        self,
        message: str,
        retry_after_s: float | None = None,
        metric: Literal["requests", "tokens"] = "requests",
        limit: int | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.metric: Literal["requests", "tokens"] = metric
        self.limit = limit


class ServerUnavailableError(PipelineError):
    """The server or the network failed temporarily. Send the request again after a backoff delay."""


class InvalidAnswerError(PipelineError):
    """The answer cannot be read (truncated, empty or not JSON). Retry, then quarantine the chunk."""

    tokens = (0, 0)
    """(input tokens, output tokens) of the call. They are billed although the answer is unusable."""


class BlockedAnswerError(PipelineError):
    """The API permanently refuses to answer for this chunk. Quarantine the chunk and continue."""

    tokens = (0, 0)
    """(input tokens, output tokens) of the call. They are billed although the answer is unusable."""


class InvalidRequestError(BlockedAnswerError):
    """The server rejects the content of one request (400, 413, 422). Quarantine the chunk and continue."""


# ---- a gate rejected the result


class GateRejectedError(PipelineError):
    """A gate rejected the result. The message names the rule."""

    exit_code = 4


class GpuMemoryError(PipelineError):
    """The GPU is too small for these settings, even with a micro-batch of one row. The message says what to change."""
