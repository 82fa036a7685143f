"""What Airflow does about each named error."""

from __future__ import annotations

import pytest
from airflow.sdk import RetryAction

from insurance_rag.core import errors
from insurance_rag.orchestration.retries import ERROR_BY_EXIT_CODE, RETRY_POLICY


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (errors.InvalidInputError("x"), RetryAction.FAIL),
        (errors.GateRejectedError("x"), RetryAction.FAIL),
        (errors.KeyRejectedError("x"), RetryAction.FAIL),
        (errors.QuotaExhaustedError("x"), RetryAction.FAIL),
        (errors.BudgetExceededError("x"), RetryAction.FAIL),
        (errors.GpuMemoryError("x"), RetryAction.FAIL),
        (errors.InterruptedRunError("x"), RetryAction.RETRY),
        (errors.IncompleteError("x"), RetryAction.RETRY),
        (errors.ServerUnavailableError("x"), RetryAction.RETRY),
        (ValueError("a bug"), RetryAction.DEFAULT),
    ],
)
def test_the_retry_table(error: Exception, action: RetryAction) -> None:
    decision = RETRY_POLICY.evaluate(error, 1, 3)
    assert decision.action == action
    assert decision.reason or action == RetryAction.DEFAULT


def test_exit_codes_stand_for_the_errors_that_functions_raise() -> None:
    assert {code: error.exit_code for code, error in ERROR_BY_EXIT_CODE.items()} == {2: 2, 3: 3, 4: 4}
