"""Errors that a request gets instead of an answer. gemini_format and openai_format turn them into responses."""

from __future__ import annotations

from collections.abc import Sequence

from gemini_simulator.quota import QuotaViolation

#: Reported retry delay in seconds when the daily quota is used up. The delay is short because Google also reports a
#: short delay in this case, although requests are refused until the next day.
DAILY_QUOTA_RETRY_S = 36.4


class RequestRefusedError(Exception):
    """Base class of all errors that a request can get instead of an answer."""

    @property
    def outcome(self) -> str:
        """Name of this error in GET /stats."""
        raise NotImplementedError


class KeyRefusedError(RequestRefusedError):
    """Status 400, 401 or 403: the API key is rejected.

    `state` is missing, invalid, leaked, suspended or disabled.
    """

    def __init__(self, state: str, project: str = "") -> None:
        super().__init__(state)
        self.state, self.project = state, project

    @property
    def outcome(self) -> str:
        """Name in GET /stats: `key_` followed by the state of the key."""
        return f"key_{self.state}"


class QuotaExceededError(RequestRefusedError):
    """Status 429. If `bare` is true, the response does not say which limit was exceeded or when to retry."""

    def __init__(self, violations: Sequence[QuotaViolation], model: str, speed: float, bare: bool) -> None:
        super().__init__("429")
        self.violations, self.model, self.bare = violations, model, bare
        waits_s = [violation.wait_s for violation in violations if violation.metric != "rpd"]
        self.retry_s = max(waits_s, default=DAILY_QUOTA_RETRY_S) / speed
        """Retry delay that the response reports, in real seconds."""

    @property
    def outcome(self) -> str:
        """Name in GET /stats: `429_` and the first exceeded limit, e.g. `429_rpm`, or `limit_0` if that limit is 0."""
        first = self.violations[0]
        return "limit_0" if first.limit == 0 else f"429_{first.metric}"


class ServerFaultError(RequestRefusedError):
    """A server failure. `fault` is the status (500, 502 or 503), or "drop" for a dropped connection."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault

    @property
    def outcome(self) -> str:
        """Name in GET /stats: the name of the fault."""
        return self.fault


class ModelNotFoundError(RequestRefusedError):
    """Status 404: there is no model with this name. `method` is the method that was called, e.g. generateContent."""

    def __init__(self, model: str, method: str) -> None:
        super().__init__(model)
        self.model, self.method = model, method

    @property
    def outcome(self) -> str:
        """Name in GET /stats."""
        return "model_not_found"


class BadRequestError(RequestRefusedError):
    """Status 400: the request is invalid. The exception's message says why."""

    @property
    def outcome(self) -> str:
        """Name in GET /stats."""
        return "bad_request"
