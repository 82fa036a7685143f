"""Waits before retries, in the time of the server: a simulator may run faster than the clock."""

from __future__ import annotations

import os
import random

from insurance_rag.config import GenerationConfig


def quota_window_s(config: GenerationConfig) -> float:
    """Return the length of the server's quota window: `quota_window_s`, else $GEMINI_QUOTA_WINDOW_S, else 60."""
    return config.quota_window_s or float(os.environ.get("GEMINI_QUOTA_WINDOW_S") or 60)


def rate_limit_wait_s(attempt: int, window_s: float = 60.0) -> float:
    """Return the wait after refusal number `attempt` (from 0) if the server does not say how long to wait.

    The formula is that of the reference design (docs/origin.md), in a window of 60 s.
    """
    return min(2 * 2 ** min(attempt, 10) * 2 + random.uniform(1, 3), 30) * window_s / 60


def retry_wait_s(attempt: int, window_s: float = 60.0) -> float:
    """Return the wait after a temporary failure: about 1, 2, 4, 8, 16 s for `attempt` 0, 1, 2 ... in a window of 60 s.

    It is shorter than the wait after a refusal: most dropped connections and 503s succeed at the second try.
    """
    return min(2**attempt, 30) * random.uniform(0.75, 1.25) * window_s / 60
