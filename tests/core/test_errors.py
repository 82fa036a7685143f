"""Errors: copies without a traceback."""

from __future__ import annotations

import pickle
import traceback
from datetime import UTC, datetime

import pytest

from insurance_rag.core.errors import InvalidInputError, PipelineError, QuotaExhaustedError, RateLimitError

RESETS_AT = datetime(2026, 11, 25, tzinfo=UTC)
ERRORS = [
    QuotaExhaustedError("a", RESETS_AT),
    RateLimitError("a", 3.0, "tokens", 10),
    InvalidInputError("a"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_fresh_error_keeps_facts_but_no_traceback(error: PipelineError) -> None:
    for _ in range(3):
        with pytest.raises(type(error)):
            raise error
    fresh = error.fresh()
    assert (type(fresh), str(fresh), vars(fresh)) == (type(error), str(error), vars(error))
    assert fresh.__traceback__ is None
    assert str(error.fresh("where: a")) == "where: a"
    assert str(error) == "a"
    assert str(pickle.loads(pickle.dumps(error.fresh("where: a")))) == "where: a"


def test_raising_fresh_copies_does_not_grow_the_traceback() -> None:
    stored = QuotaExhaustedError("a", RESETS_AT)
    for _ in range(50):
        with pytest.raises(QuotaExhaustedError) as caught:
            raise stored.fresh()
        assert len(traceback.extract_tb(caught.value.__traceback__)) == 1
