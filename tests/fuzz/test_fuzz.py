"""Every parser of outside data either returns or raises an error of this package, in time, and writes nothing then."""

from __future__ import annotations

import logging

import pytest
from tests.fuzz.harness import fuzz
from tests.fuzz.targets import Target, targets

EXAMPLES = 24


@pytest.mark.parametrize("target", list(targets()), ids=lambda target: target.name)
def test_damaged_input_never_ends_in_a_traceback(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    fuzz(target, max(6, EXAMPLES // target.cost))
