"""Errors, named after what the operator must do.

Each class carries the exit code of the command line, so that a task, a pod and a person reach the same conclusion:
2 invalid input, 3 incomplete but resumable, 4 rejected by a gate, 1 anything else. Messages never contain a secret.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Self


class PipelineError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1

    def fresh(self, message: str | None = None) -> Self:
        """Return a copy without traceback and cause, with `message` instead of its own if given.

        Raise this instead of an error object that was stored: every `raise` of one object appends frames to the same
        traceback, and several coroutines that raise it make that traceback hundreds of frames long.
        """
        copied = copy.copy(self)
        if message is not None:
            copied.args = (message,)
        return copied.with_traceback(None)


# ---- fix the input, then run again


@dataclass(frozen=True)
class LineProblem:
    """One problem of one line of a file."""

    path: Path | str
    line: int
    message: str
    """What is wrong and what to do; the same text for the same problem, so that repeated ones can be grouped."""


class InvalidInputError(PipelineError):
    """The input is invalid. Lists every problem found: what is wrong, where, and what to do."""

    exit_code = 2

    def __init__(self, problems: str | Iterable[str | LineProblem]) -> None:
        listed = [problems] if isinstance(problems, str) else list(problems)
        self.problems = group_problems(listed)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} problems:\n  - "
        super().__init__(head + "\n  - ".join(self.problems))

    def __reduce__(self) -> tuple[type[InvalidInputError], tuple[list[str]]]:
        return type(self), (self.problems,)

    def fresh(self, message: str | None = None) -> Self:
        """Return a copy without traceback and cause; a new `message` replaces the list of problems."""
        return type(self)(self.problems if message is None else message)


def group_problems(problems: Sequence[str | LineProblem]) -> list[str]:
    """Return one message per problem; a problem that several lines of a file share is reported once, with their number.

    >>> group_problems([LineProblem("a.jsonl", 3, "unknown field 'x'"), LineProblem("a.jsonl", 5, "unknown field 'x'")])
    ["a.jsonl: 2 lines: unknown field 'x', first at line 3"]
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
    return f"{path}: {len(lines)} lines: {message}, first at line {lines[0]}"


# ---- run the same command again: finished work is kept


class IncompleteError(PipelineError):
    """The work is partly done and kept; the same command resumes it."""

    exit_code = 3


class QuotaExhaustedError(IncompleteError):
    """The daily quota of a project is used up; resume after `resets_at`."""

    def __init__(self, message: str, resets_at: datetime | None = None) -> None:
        super().__init__(message)
        self.resets_at = resets_at


class InterruptedRunError(IncompleteError):
    """A signal asked the work to stop; a checkpoint was saved."""


class BudgetExceededError(IncompleteError):
    """The budget of the run is used up; raise it and run again."""


# ---- replace the key, then run again


class KeyRejectedError(IncompleteError):
    """The API rejects this key permanently (invalid, leaked, suspended, or `limit: 0`)."""


class ProjectRejectedError(KeyRejectedError):
    """The whole project of the key has no quota for this model (`limit: 0`); waiting does not help."""


# ---- nothing to do: the client or the pipeline handles these


class RateLimitError(PipelineError):
    """A 429 of a per-minute quota: wait `retry_after_s` seconds, then send the request again.

    `metric` and `limit` are the kind and the size of the quota, as far as the server names them.
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
    """A temporary failure of the server or the network: send the request again with backoff."""


class InvalidAnswerError(PipelineError):
    """The answer cannot be read (truncated, empty, not JSON): send the request again, then quarantine the chunk."""

    tokens = (0, 0)
    """Input and output tokens, which are paid for although the answer is unusable."""


class BlockedAnswerError(PipelineError):
    """The API refuses to answer for this chunk permanently: quarantine the chunk and continue."""

    tokens = (0, 0)
    """Input and output tokens, which are paid for although the answer is unusable."""


class InvalidRequestError(BlockedAnswerError):
    """The server rejects the content of one request (400, 413, 422): quarantine the chunk and continue."""


# ---- a gate rejected the result


class GateRejectedError(PipelineError):
    """A gate rejects the result; the message names the rule."""

    exit_code = 4


class GpuMemoryError(PipelineError):
    """The GPU is too small for these settings even with a micro-batch of 1; the message names what to change."""
