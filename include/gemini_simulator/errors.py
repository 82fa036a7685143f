"""Refusals: what a request gets instead of an answer. Each API format writes them in its own form."""

from __future__ import annotations

from collections.abc import Sequence

from gemini_simulator.quota import QuotaViolation

#: Google sends a short delay even if the daily quota is used up, although waiting that long does not help.
DAILY_QUOTA_RETRY_S = 36.4


class RequestRefusedError(Exception):
    """Base of all refusals."""

    @property
    def outcome(self) -> str:
        """Name of the refusal in GET /stats."""
        raise NotImplementedError


class KeyRefusedError(RequestRefusedError):
    """Status 400, 401 or 403: the key is missing, invalid, leaked, suspended or disabled (`state`)."""

    def __init__(self, state: str, project: str = "") -> None:
        super().__init__(state)
        self.state, self.project = state, project

    @property
    def outcome(self) -> str:
        """Name in GET /stats: `key_` and the state of the key."""
        return f"key_{self.state}"


class QuotaExceededError(RequestRefusedError):
    """Status 429. `bare` asks for a body without the structured details."""

    def __init__(self, violations: Sequence[QuotaViolation], model: str, speed: float, bare: bool) -> None:
        super().__init__("429")
        self.violations, self.model, self.bare = violations, model, bare
        waits_s = [violation.wait_s for violation in violations if violation.metric != "rpd"]
        self.retry_s = max(waits_s, default=DAILY_QUOTA_RETRY_S) / speed
        """Delay that the refusal reports, in real seconds."""

    @property
    def outcome(self) -> str:
        """Name in GET /stats: `429_` and the first exceeded limit; `limit_0` for a model that is not allowed."""
        first = self.violations[0]
        return "limit_0" if first.limit == 0 else f"429_{first.metric}"


class ServerFaultError(RequestRefusedError):
    """A failure of the server: status 500, 502 or 503, or a dropped connection (`fault` is "drop")."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault

    @property
    def outcome(self) -> str:
        """Name in GET /stats: the fault."""
        return self.fault


class BadRequestError(RequestRefusedError):
    """Status 400: the request itself is invalid; the message says why."""

    @property
    def outcome(self) -> str:
        """Name in GET /stats."""
        return "bad_request"
