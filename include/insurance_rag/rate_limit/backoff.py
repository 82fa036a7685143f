"""Wait times before retries. They scale with the quota window, because a simulator may run faster than real time."""

from __future__ import annotations

import os
import random

from insurance_rag.config import GenerationConfig


def quota_window_s(config: GenerationConfig) -> float:
    """Return the length of the server's quota window: `config.quota_window_s`, else $GEMINI_QUOTA_WINDOW_S, else 60."""
    return config.quota_window_s or float(os.environ.get("GEMINI_QUOTA_WINDOW_S") or 60)


def rate_limit_wait_s(attempt: int, window_s: float = 60.0) -> float:
    """Return the seconds to wait after a 429 response that does not specify a wait.

    `attempt` is 0 for the first refusal. For a window of 60 s, the formula is the one in the reference design
    (docs/origin.md).
    """
    return min(2 * 2 ** min(attempt, 10) * 2 + random.uniform(1, 3), 30) * window_s / 60


def retry_wait_s(attempt: int, window_s: float = 60.0) -> float:
    """Return the seconds to wait after a temporary failure. `attempt` is 0 for the first failure.

    For a window of 60 s, the waits are about 1, 2, 4, 8 and 16 s. After a dropped connection or a 503, most requests
    succeed on the second try. The waits are therefore shorter than the waits after a 429.
    """
    return min(2**attempt, 30) * random.uniform(0.75, 1.25) * window_s / 60
