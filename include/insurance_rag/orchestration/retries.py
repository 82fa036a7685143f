"""What Airflow does about each error, by its name: one table for every task. The first rule that matches decides."""

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
    QuotaExhaustedError,
    ServerUnavailableError,
)

FAIL, RETRY = RetryAction.FAIL, RetryAction.RETRY

RETRY_POLICY = ExceptionRetryPolicy(
    [
        RetryRule(InvalidInputError, FAIL, reason="the input is wrong: mend it, then clear this task"),
        RetryRule(GateRejectedError, FAIL, reason="a gate refused the result: see the report"),
        RetryRule(
            KeyRejectedError,
            FAIL,
            reason="the API refuses this key: replace it in its connection, then clear this task",
        ),
        RetryRule(
            QuotaExhaustedError,
            FAIL,
            reason="the day's quota is used up: other keys take over, or clear this task tomorrow",
        ),
        RetryRule(
            BudgetExceededError,
            FAIL,
            reason="the budget is used up: a new run with a larger one takes the answers over",
        ),
        RetryRule(GpuMemoryError, FAIL, reason="the memory is too small for these settings: see the message"),
        RetryRule(
            IncompleteError,
            RETRY,
            timedelta(seconds=10),
            reason="interrupted: what is done is kept, the next try resumes",
        ),
        RetryRule(ServerUnavailableError, RETRY, timedelta(minutes=1), reason="the server is not available"),
    ]
)
