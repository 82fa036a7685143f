"""What one request meets, whichever API it came through: its key, an outage, the quota, a fault, and then an answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gemini_simulator.answers import Answers, write_answers
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.parsed_request import Wish
from gemini_simulator.quota import Pool, Violation
from gemini_simulator.seeded_random import draw, uniform

#: A refusal comes back sooner than an answer: seconds of the simulator's clock.
REFUSAL_S = 0.1

#: Faults that give no answer at all; the others spoil one.
SERVER_FAULTS = ("503", "500", "502", "drop")

#: Finish reasons of an answer that the API blocks; the last blocks the prompt and gives no candidate.
BLOCKS = ("SAFETY", "RECITATION", "PROHIBITED_CONTENT")


class RequestRefused(Exception):
    """Base of what a request gets instead of an answer."""


class KeyRefused(RequestRefused):
    """`state` is missing, invalid, leaked, suspended or disabled."""

    def __init__(self, state: str, project: str = "") -> None:
        super().__init__(state)
        self.state, self.project = state, project


class QuotaBroken(RequestRefused):
    """429; `bare` asks for a body without its structured details."""

    def __init__(self, violations: list[Violation], model: str, speed: float, bare: bool) -> None:
        super().__init__("429")
        self.violations, self.model, self.bare = violations, model, bare
        minute_waits = [v.wait for v in violations if v.metric != "rpd"]
        # The delay beside a day quota is as short and useless as the real one.
        self.retry_s = max(minute_waits, default=36.4) / speed


class ServerFault(RequestRefused):
    """`kind` is one of SERVER_FAULTS."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class BadRequest(RequestRefused):
    """400: the request itself is at fault."""


@dataclass(slots=True)
class Call:
    """One request as it was met; times in seconds of the simulator's clock."""

    at: float
    key: str
    project: str
    model: str
    clause: str
    ask: str
    correction: bool
    tokens: int = 0
    admitted: bool = False
    outcome: str = "pending"
    done: float | None = None


@dataclass(frozen=True)
class Reply:
    """`finish` is STOP, MAX_TOKENS, EMPTY or one of BLOCKS; `text` is None where there is none."""

    text: str | None
    finish: str
    tokens_in: int
    tokens_out: int


def fingerprint(key: str) -> str:
    """A name for a key that does not give it away."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def count_tokens(text: str) -> int:
    """About what Gemini counts: three quarters of a token a Korean character, a quarter a Latin one."""
    return -(-len(text.encode()) // 4)


@dataclass
class Service:
    """The state of a running simulator: pools, calls, and the truth about its answers."""

    config: SimulatorConfig
    calls: list[Call] = field(default_factory=list)
    truth: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    _pools: dict[tuple[str, str], Pool] = field(default_factory=dict)
    _attempts: Counter[str] = field(default_factory=Counter)
    _started: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        return (time.monotonic() - self._started) * self.config.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.config.speed)

    def project_of(self, key: str) -> str:
        return self.config.projects.get(key, f"project-{fingerprint(key)}")

    def check_key(self, key: str | None) -> str:
        """The project of a key that is accepted, else KeyRefused."""
        if not key:
            raise KeyRefused("missing")
        project = self.project_of(key)
        if state := self.config.key_states.get(key):
            raise KeyRefused(state, project)
        return project

    async def ask(self, key: str | None, model: str, wish: Wish) -> Reply:
        """One generateContent or chat completion: the answer after its latency, or RequestRefused."""
        call = Call(self.now(), fingerprint(key or ""), "", model, wish.clause_sha256, wish.sha256, wish.is_correction)
        self.calls.append(call)
        try:
            self._admit(call, key, wish)
            fault = self.draw_fault(wish)
            call.outcome = "in_flight"
            await self.sleep(self._latency(wish))
            reply = self.answer(wish, fault, call)
        except RequestRefused as e:
            call.outcome = _outcome(e)
            await self.sleep(REFUSAL_S)
            raise
        finally:
            call.done = self.now()
        return reply

    def answer(self, wish: Wish, fault: str | None, call: Call) -> Reply:
        """What the model says, spoilt by `fault` where one is given; a blocked clause stays blocked."""
        if fault in SERVER_FAULTS:
            raise ServerFault(fault)
        reply = self._reply(wish, fault)
        spoilt = fault if fault != "fenced" else None  # fences are no loss
        call.outcome = "blocked" if reply.finish in BLOCKS else spoilt or "answered"
        return reply

    def _reply(self, wish: Wish, fault: str | None) -> Reply:
        tokens = count_tokens(wish.prompt)
        seed = self.config.seed
        if uniform(seed, "blocked", wish.clause_sha256) < self.config.faults.get("blocked", 0.0):
            finish = BLOCKS[int(uniform(seed, "block reason", wish.clause_sha256) * len(BLOCKS))]
            return Reply(None, finish, tokens, 0)
        if fault == "empty":
            return Reply(None, "EMPTY", tokens, 0)
        answers = write_answers(wish, seed, self.config.defects)
        text, finish = _spoil(answers.text, fault)
        if fault in (None, "fenced"):
            self._remember(wish, answers)
        return Reply(text, finish, tokens, count_tokens(text))

    def outage(self) -> bool:
        now = self.now()
        return any(start <= now < end for start, end in self.config.outages)

    def _admit(self, call: Call, key: str | None, wish: Wish) -> None:
        call.project = self.project_of(key) if key else ""
        self.check_key(key)
        if self.outage():
            raise ServerFault("503")
        tokens = count_tokens(wish.prompt)
        violations = self._pool(call.project, call.model).admit(call.at, tokens)
        if violations:
            bare = uniform(self.config.seed, "bare", len(self.calls)) < self.config.faults.get("bare_429", 0.0)
            raise QuotaBroken(violations, call.model, self.config.speed, bare)
        call.tokens, call.admitted = tokens, True

    def _pool(self, project: str, model: str) -> Pool:
        if (project, model) not in self._pools:
            quota = self.config.quotas.get(project, self.config.quota)
            self._pools[project, model] = Pool(quota, self.config.window)
        return self._pools[project, model]

    def draw_fault(self, wish: Wish) -> str | None:
        """The n-th try of the same request draws anew, so a fault passes."""
        self._attempts[wish.sha256] += 1
        passing: dict[str, float] = {
            name: rate for name, rate in self.config.faults.items() if name not in ("blocked", "bare_429")
        }
        return draw(passing, self.config.seed, "fault", wish.sha256, self._attempts[wish.sha256])

    def _latency(self, wish: Wish) -> float:
        swing = 2 * uniform(self.config.seed, "latency", wish.sha256, self._attempts[wish.sha256]) - 1
        return self.config.latency_s * (1 + self.config.latency_spread * swing)

    def _remember(self, wish: Wish, answers: Answers) -> None:
        for item in answers.items:
            record = {"clause_sha256": wish.clause_sha256, **item}
            self.truth[wish.clause_sha256, item["type"], item["question"], item["answer"]] = record


def _outcome(refusal: RequestRefused) -> str:
    match refusal:
        case KeyRefused(state=state):
            return f"key_{state}"
        case QuotaBroken(violations=violations):
            return "limit_0" if violations[0].limit == 0 else f"429_{violations[0].metric}"
        case ServerFault(kind=kind):
            return kind
        case _:
            return "bad_request"


def _spoil(text: str, fault: str | None) -> tuple[str, str]:
    if fault == "max_tokens":
        return text[: len(text) * 3 // 5], "MAX_TOKENS"
    if fault == "malformed":
        return text[: len(text) * 4 // 5] + "\n\n위와 같이 작성했습니다.", "STOP"
    if fault == "fenced":
        return f"```json\n{text}\n```", "STOP"
    return text, "STOP"
