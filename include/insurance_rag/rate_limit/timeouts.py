"""How long a call may take."""

from __future__ import annotations

TIMEOUT_PER_CHUNK = 0.25
"""Each further chunk in a call extends its timeout by this fraction."""


def call_timeout_s(timeout_s: float, chunks: int) -> float:
    """Return the timeout of a call that asks about `chunks` chunks. `timeout_s` is the timeout for one chunk."""
    return timeout_s * (1 + TIMEOUT_PER_CHUNK * (chunks - 1))
