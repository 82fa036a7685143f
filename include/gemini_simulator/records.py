"""Records of the requests that the simulator has received. stats.py summarizes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gemini_simulator.parsed_request import ParsedRequest


@dataclass(frozen=True, slots=True)
class AskedChunk:
    """A chunk that a request asks about. Two requests with equal AskedChunks ask for the same pairs."""

    sha256: str
    product: str
    path: str
    is_correction: bool
    """Whether the request names the faults in earlier pairs and asks for corrected pairs."""
    types: tuple[str, ...]
    """Types of the requested pairs."""


@dataclass(slots=True)
class RequestRecord:
    """A record of one request for an answer. Times are in seconds on the simulator's clock."""

    received_s: float
    key: str
    """Fingerprint of the API key."""
    project: str
    model: str
    chunks: tuple[AskedChunk, ...]
    is_correction: bool
    tokens: int = 0
    admitted: bool = False
    outcome: str = "pending"
    finished_s: float | None = None
    replied_outcomes: tuple[str, ...] = ()
    """Outcome for each chunk; empty if all chunks have the request's outcome."""

    @property
    def chunk_outcomes(self) -> Sequence[str]:
        """Outcome for each chunk."""
        return self.replied_outcomes or [self.outcome] * len(self.chunks)


def record_request(received_s: float, key: str, project: str, model: str, request: ParsedRequest) -> RequestRecord:
    """Return a new record of a request."""
    chunks = (
        AskedChunk(s.sha256, s.product, s.path, request.is_correction, tuple(pair.type for pair in s.wanted))
        for s in request.sections
    )
    return RequestRecord(received_s, key, project, model, tuple(chunks), request.is_correction)
