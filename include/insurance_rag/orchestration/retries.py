"""What Airflow does about each error, by its name: one table for every task. The first rule that matches decides."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from insurance_rag.errors import (
    BudgetSpent,
    Incomplete,
    KeyRejected,
    OutOfMemory,
    QuotaExhausted,
    Refused,
    Unavailable,
    WrongInput,
)

FAIL, RETRY = RetryAction.FAIL, RetryAction.RETRY

RETRY_POLICY = ExceptionRetryPolicy(
    [
        RetryRule(WrongInput, FAIL, reason="the input is wrong: mend it, then clear this task"),
        RetryRule(Refused, FAIL, reason="a gate refused the result: see the report"),
        RetryRule(
            KeyRejected, FAIL, reason="the API refuses this key: replace it in its connection, then clear this task"
        ),
        RetryRule(
            QuotaExhausted, FAIL, reason="the day's quota is used up: other keys take over, or clear this task tomorrow"
        ),
        RetryRule(
            BudgetSpent,
            FAIL,
            reason="the budget is used up: a new run with a larger one takes the answers over",
        ),
        RetryRule(OutOfMemory, FAIL, reason="the memory is too small for these settings: see the message"),
        RetryRule(
            Incomplete, RETRY, timedelta(seconds=10), reason="interrupted: what is done is kept, the next try resumes"
        ),
        RetryRule(Unavailable, RETRY, timedelta(minutes=1), reason="the server is not available"),
    ]
)
