"""Keeps tracebacks out of the task log where the error message already explains the failure."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowFailException

from insurance_rag.core.artifact_store.locations import public_text
from insurance_rag.core.errors import PipelineError

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def message_only(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap the function of a task so that Airflow gets the pipeline's own errors without their tracebacks and causes.

    Airflow logs every exception with its traceback, which would hide the message that says what to do. The full
    traceback is logged at level DEBUG.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (PipelineError, AirflowFailException) as e:
            log.debug("traceback of the error below", exc_info=True)
            raise _public(e).with_traceback(None) from None

    return call


def _public(error: PipelineError | AirflowFailException) -> PipelineError | AirflowFailException:
    """Return the error with the URIs of artifacts in place of the paths of their local copies."""
    text = public_text(str(error))
    if text == str(error):
        return error
    return error.fresh(text) if isinstance(error, PipelineError) else AirflowFailException(text)
