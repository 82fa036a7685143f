"""What happened, folded from the calls: enough to prove that nothing was lost, asked twice, or sent too fast."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from gemini_simulator.quota import MINUTE_S
from gemini_simulator.service import Call, Service


def summarise(service: Service) -> dict[str, Any]:
    """Totals, and the same a project and a key (named by its fingerprint). Times in the simulator's clock."""
    calls = list(service.calls)
    answered = Counter(call.ask for call in calls if call.outcome == "answered")
    return {
        "clock_s": round(service.now(), 3),
        "speed": service.config.speed,
        **_group(calls),
        "distinct_answered": len(answered),
        "repeated_answers": sum(n - 1 for n in answered.values()),
        "projects": _by(calls, "project"),
        "keys": _by(calls, "key"),
        "clauses": _clauses(calls),
    }


def _by(calls: Iterable[Call], name: str) -> dict[str, Any]:
    groups: dict[str, list[Call]] = {}
    for call in calls:
        groups.setdefault(getattr(call, name), []).append(call)
    return {group: _group(members) for group, members in groups.items()}


def _group(calls: list[Call]) -> dict[str, Any]:
    """`after_day_out` counts the requests after the first refusal for the day's quota."""
    outcomes = Counter(call.outcome for call in calls)
    admitted = [call for call in calls if call.admitted]
    day_out = next((n for n, call in enumerate(calls) if call.outcome == "429_rpd"), None)
    ended = [call.done for call in calls if call.done is not None and call.outcome == "answered"]
    return {
        "calls": len(calls),
        "admitted": len(admitted),
        "answered": outcomes["answered"],
        "corrections": sum(call.correction for call in calls if call.outcome == "answered"),
        "refused_429": sum(n for name, n in outcomes.items() if name.startswith("429_") or name == "limit_0"),
        "in_flight": outcomes["in_flight"],
        "max_in_flight": _max_in_flight(admitted),
        "tokens": sum(call.tokens for call in admitted),
        "peak_requests_per_minute": _peak(admitted, lambda call: 1),
        "peak_tokens_per_minute": _peak(admitted, lambda call: call.tokens),
        "first_s": round(calls[0].at, 3) if calls else None,
        "last_answer_s": round(max(ended), 3) if ended else None,
        "after_day_out": 0 if day_out is None else len(calls) - day_out - 1,
        "outcomes": dict(sorted(outcomes.items())),
    }


def _peak(calls: Iterable[Call], weight: Callable[[Call], int]) -> int:
    """The most in any rolling minute."""
    inside: deque[Call] = deque()
    total = most = 0
    for call in calls:
        inside.append(call)
        total += weight(call)
        while inside[0].at <= call.at - MINUTE_S:
            total -= weight(inside.popleft())
        most = max(most, total)
    return most


def _max_in_flight(calls: Iterable[Call]) -> int:
    edges = sorted((time, step) for call in calls for time, step in ((call.at, 1), (call.done, -1)) if time is not None)
    now = most = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def _clauses(calls: Iterable[Call]) -> dict[str, dict[str, int]]:
    """By the clause's sha256: how often each outcome met it."""
    clauses: dict[str, Counter[str]] = {}
    for call in calls:
        clauses.setdefault(call.clause, Counter())[call.outcome] += 1
    return {clause: dict(outcomes) for clause, outcomes in clauses.items()}
