"""Statistics on the received requests. Tests use them to find requests that were lost, repeated or sent too early."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TypedDict

from gemini_simulator.quota import MINUTE_S
from gemini_simulator.records import AskedChunk, RequestRecord
from gemini_simulator.service import Service


class RequestStats(TypedDict):
    """Statistics on a group of requests. Times are in seconds on the simulator's clock."""

    calls: int
    """Number of requests for an answer, including requests that got an error."""
    admitted: int
    """Number of requests that passed the key and quota checks."""
    answered: int
    chunks_answered: int
    """Number of chunks whose pairs were delivered intact, counted once per answer."""
    mean_chunks_per_call: float
    corrections: int
    """Number of answered correction requests (requests that name the faults in earlier pairs)."""
    refused_429: int
    in_flight: int
    max_in_flight: int
    tokens: int
    """Number of input tokens in the admitted requests."""
    peak_requests_per_minute: int
    """Largest number of requests that were admitted within 60 s."""
    peak_tokens_per_minute: int
    first_s: float | None
    last_answer_s: float | None
    calls_after_daily_quota: int
    """Number of requests that arrived after the daily quota was first exceeded."""
    outcomes: dict[str, int]


class SimulatorStats(RequestStats):
    """Response body of GET /stats: statistics on all requests, also broken down by project and by key."""

    clock_s: float
    speed: float
    distinct_answered: int
    """Number of different chunks whose pairs were delivered intact. A chunk counts again for other types of pairs, and
    for corrections."""
    repeated_answers: int
    """Number of times that a chunk's pairs were delivered intact again, although they had been before."""
    projects: dict[str, RequestStats]
    keys: dict[str, RequestStats]
    """Statistics by key fingerprint."""
    chunks: dict[str, dict[str, int]]
    """Chunk hash -> outcome -> number of requests."""


def summarize_requests(service: Service) -> SimulatorStats:
    """Summarize the requests that the service has received so far."""
    requests = list(service.requests)
    answered = Counter(chunk for request in requests for chunk in _intact_chunks(request))
    return {
        "clock_s": round(service.now_s(), 3),
        "speed": service.config.speed,
        **_summarize(requests),
        "distinct_answered": len(answered),
        "repeated_answers": sum(n - 1 for n in answered.values()),
        "projects": _summarize_groups(requests, lambda request: request.project),
        "keys": _summarize_groups(requests, lambda request: request.key),
        "chunks": _outcomes_by_chunk(requests),
    }


def _summarize_groups(
    requests: Iterable[RequestRecord], group_of: Callable[[RequestRecord], str]
) -> dict[str, RequestStats]:
    groups: dict[str, list[RequestRecord]] = {}
    for request in requests:
        groups.setdefault(group_of(request), []).append(request)
    return {group: _summarize(members) for group, members in groups.items()}


def _summarize(requests: list[RequestRecord]) -> RequestStats:
    outcomes = Counter(request.outcome for request in requests)
    admitted = [request for request in requests if request.admitted]
    answered = [request for request in requests if request.outcome == "answered"]
    ended_s = [request.finished_s for request in answered if request.finished_s is not None]
    daily_quota = next((n for n, request in enumerate(requests) if request.outcome == "429_rpd"), None)
    return {
        "calls": len(requests),
        "admitted": len(admitted),
        "answered": outcomes["answered"],
        "chunks_answered": sum(len(_intact_chunks(request)) for request in answered),
        "mean_chunks_per_call": round(sum(len(r.chunks) for r in requests) / max(1, len(requests)), 3),
        "corrections": sum(request.is_correction for request in answered),
        "refused_429": sum(n for name, n in outcomes.items() if name.startswith("429_") or name == "limit_0"),
        "in_flight": outcomes["in_flight"],
        "max_in_flight": _max_in_flight(admitted),
        "tokens": sum(request.tokens for request in admitted),
        "peak_requests_per_minute": _peak_per_minute(admitted, lambda request: 1),
        "peak_tokens_per_minute": _peak_per_minute(admitted, lambda request: request.tokens),
        "first_s": round(requests[0].received_s, 3) if requests else None,
        "last_answer_s": round(max(ended_s), 3) if ended_s else None,
        "calls_after_daily_quota": 0 if daily_quota is None else len(requests) - daily_quota - 1,
        "outcomes": dict(sorted(outcomes.items())),
    }


def _peak_per_minute(requests: Iterable[RequestRecord], weight: Callable[[RequestRecord], int]) -> int:
    """Return the largest sum of the weights of requests that were received within 60 s."""
    window: deque[RequestRecord] = deque()
    total = peak = 0
    for request in requests:
        window.append(request)
        total += weight(request)
        while window[0].received_s <= request.received_s - MINUTE_S:
            total -= weight(window.popleft())
        peak = max(peak, total)
    return peak


def _max_in_flight(requests: Iterable[RequestRecord]) -> int:
    """Return the largest number of requests that were in progress at the same time."""
    changes = sorted(
        (time_s, change)
        for request in requests
        for time_s, change in ((request.received_s, 1), (request.finished_s, -1))
        if time_s is not None
    )
    current = most = 0
    for _, change in changes:
        current += change
        most = max(most, current)
    return most


def _intact_chunks(request: RequestRecord) -> list[AskedChunk]:
    """Return the chunks whose pairs were delivered intact."""
    outcomes = zip(request.chunks, request.chunk_outcomes, strict=True)
    return [chunk for chunk, outcome in outcomes if outcome == "answered"]


def _outcomes_by_chunk(requests: Iterable[RequestRecord]) -> dict[str, dict[str, int]]:
    chunks: dict[str, Counter[str]] = {}
    for request in requests:
        for chunk, outcome in zip(request.chunks, request.chunk_outcomes, strict=True):
            chunks.setdefault(chunk.sha256, Counter())[outcome] += 1
    return {chunk: dict(outcomes) for chunk, outcomes in chunks.items()}
