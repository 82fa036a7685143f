"""What a task's log shows of a failure."""

from __future__ import annotations

import traceback

import pytest
from airflow.sdk.exceptions import AirflowFailException

from insurance_rag.core.errors import InvalidInputError, KeyRejectedError
from insurance_rag.orchestration.task_errors import message_only


@message_only
def fail(error: Exception, depth: int = 5) -> None:
    _deeper(error, depth)


def _deeper(error: Exception, depth: int) -> None:
    if depth:
        _deeper(error, depth - 1)
    try:
        raise OSError("the cause")
    except OSError as cause:
        raise error from cause


@pytest.mark.parametrize("error", [KeyRejectedError("replace the key"), AirflowFailException("clear the failed tasks")])
def test_a_named_error_has_no_frames_below_the_task_and_no_cause(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        fail(error)
    shown = "".join(traceback.format_exception(caught.value))
    assert "_deeper" not in shown and "the cause" not in shown
    assert shown.rstrip().endswith(str(error))


def test_an_error_that_was_raised_many_times_loses_the_frames_of_all_of_them() -> None:
    error = InvalidInputError("fix the file")
    for _ in range(50):
        with pytest.raises(InvalidInputError):
            _deeper(error, 3)
    with pytest.raises(InvalidInputError) as caught:
        fail(error)
    assert len(traceback.extract_tb(caught.value.__traceback__)) <= 3


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        fail(ZeroDivisionError("a bug"))
    assert "_deeper" in "".join(traceback.format_exception(caught.value))
