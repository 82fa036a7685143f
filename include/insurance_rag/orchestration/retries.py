"""The retry policy of all tasks. It decides whether Airflow retries after an error: the first matching rule applies."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from insurance_rag.core.errors import (
    BudgetExceededError,
    GateRejectedError,
    GpuMemoryError,
    IncompleteError,
    InvalidInputError,
    KeyRejectedError,
    PipelineError,
    QuotaExhaustedError,
    ServerUnavailableError,
)

#: Exit code of the command line -> error to raise, so that the retry policy treats a process like a function call.
ERROR_BY_EXIT_CODE: dict[int, type[PipelineError]] = {2: InvalidInputError, 3: IncompleteError, 4: GateRejectedError}

FAIL, RETRY = RetryAction.FAIL, RetryAction.RETRY

RETRY_POLICY = ExceptionRetryPolicy(
    [
        RetryRule(InvalidInputError, FAIL, reason="the input is invalid: fix it, then clear this task"),
        RetryRule(GateRejectedError, FAIL, reason="a gate rejected the result: see the report"),
        RetryRule(
            KeyRejectedError,
            FAIL,
            reason="the API rejects this key: replace the key in its connection, then clear this task",
        ),
        RetryRule(
            QuotaExhaustedError,
            FAIL,
            reason="the daily quota is used up: healthy keys answer the rest; without one, clear this task tomorrow",
        ),
        RetryRule(
            BudgetExceededError,
            FAIL,
            reason="the budget is used up: start a new run with a larger budget, which reuses the answers",
        ),
        RetryRule(GpuMemoryError, FAIL, reason="there is not enough memory for these settings: see the message"),
        RetryRule(
            IncompleteError,
            RETRY,
            timedelta(seconds=10),
            reason="interrupted: finished work is kept, and the next try resumes",
        ),
        RetryRule(ServerUnavailableError, RETRY, timedelta(minutes=1), reason="the server is not available"),
    ]
)
