"""Handles requests in both API formats: checks the key, outages and the quota, draws a fault, and writes the answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field

from gemini_simulator.answers import WrittenAnswer, write_answer
from gemini_simulator.config import FaultName, SimulatorConfig
from gemini_simulator.errors import KeyRefusedError, QuotaExceededError, RequestRefusedError, ServerFaultError
from gemini_simulator.pairs import GroundTruth
from gemini_simulator.parsed_request import ParsedRequest
from gemini_simulator.quota import ProjectQuota
from gemini_simulator.seeded_random import choose_by_rate, hash_uniform

#: Latency of an error response in simulated seconds. It is shorter than the latency of an answer.
REFUSAL_S = 0.1

#: Faults that replace the answer with an error or a dropped connection.
SERVER_FAULTS = ("503", "500", "502", "drop")

#: Finish reasons of blocked answers. With PROHIBITED_CONTENT, the prompt itself is blocked, so the response contains no
#: candidate (Gemini's term for an answer).
BLOCK_REASONS = ("SAFETY", "RECITATION", "PROHIBITED_CONTENT")


@dataclass(slots=True)
class RequestRecord:
    """A record of one request for an answer. Times are in seconds on the simulator's clock."""

    received_s: float
    key: str
    """Fingerprint of the API key."""
    project: str
    model: str
    chunk_sha256: str
    request_sha256: str
    is_correction: bool
    tokens: int = 0
    admitted: bool = False
    outcome: str = "pending"
    finished_s: float | None = None


@dataclass(frozen=True)
class Completion:
    """The model's answer. `finish_reason` is STOP, MAX_TOKENS, EMPTY or one of BLOCK_REASONS.

    `text` is None if the answer is empty or blocked.
    """

    text: str | None
    finish_reason: str
    input_tokens: int
    output_tokens: int

    @property
    def sha256(self) -> str:
        """Hash that the response ID is made from. Changing the hashed string would change all response IDs."""
        counts = f"tokens_in={self.input_tokens}, tokens_out={self.output_tokens}"
        return hashlib.sha256(
            f"Reply(text={self.text!r}, finish={self.finish_reason!r}, {counts})".encode()
        ).hexdigest()


def key_fingerprint(key: str) -> str:
    """Return a short name that identifies a key without revealing it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def count_tokens(text: str) -> int:
    """Estimate the number of tokens for Gemini: 0.75 tokens per Korean character and 0.25 per Latin character."""
    return -(-len(text.encode()) // 4)


@dataclass
class Service:
    """The state of a running simulator: quotas, received requests, and the ground truth for all pairs sent."""

    config: SimulatorConfig
    requests: list[RequestRecord] = field(default_factory=list)
    ground_truth: dict[tuple[str, ...], GroundTruth] = field(default_factory=dict)
    """Ground truth by chunk hash, question type, question and answer."""
    _quotas: dict[tuple[str, str], ProjectQuota] = field(default_factory=dict)
    _attempts: Counter[str] = field(default_factory=Counter)
    _started: float = field(default_factory=time.monotonic)

    def now_s(self) -> float:
        """Return the time on the simulator's clock: real seconds since the start, multiplied by `speed`."""
        return (time.monotonic() - self._started) * self.config.speed

    async def sleep(self, seconds: float) -> None:
        """Wait for this number of seconds on the simulator's clock."""
        await asyncio.sleep(seconds / self.config.speed)

    def project_of(self, key: str) -> str:
        """Return the key's project. A key that the configuration does not list has a separate project."""
        return self.config.projects.get(key, f"project-{key_fingerprint(key)}")

    def check_key(self, key: str | None) -> str:
        """Return the key's project. Raises KeyRefusedError if the key is missing or rejected."""
        if not key:
            raise KeyRefusedError("missing")
        project = self.project_of(key)
        if state := self.config.key_states.get(key):
            raise KeyRefusedError(state, project)
        return project

    async def complete(self, key: str | None, model: str, request: ParsedRequest) -> Completion:
        """Answer a generateContent or chat completion request after the configured latency.

        Raises RequestRefusedError if the request gets an error instead of an answer.
        """
        fingerprint = key_fingerprint(key or "")
        hashes = request.chunk_sha256, request.sha256
        record = RequestRecord(self.now_s(), fingerprint, "", model, *hashes, request.is_correction)
        self.requests.append(record)
        try:
            self._admit(record, key, request)
            fault = self.draw_fault(request)
            record.outcome = "in_flight"
            await self.sleep(self._latency_s(request))
            completion = self.answer(request, fault, record)
        except RequestRefusedError as e:
            record.outcome = e.outcome
            await self.sleep(REFUSAL_S)
            raise
        finally:
            record.finished_s = self.now_s()
        return completion

    def answer(self, request: ParsedRequest, fault: FaultName | None, record: RequestRecord) -> Completion:
        """Return the answer to a request, with the damage that `fault` causes.

        If the chunk is blocked, the answer is blocked and not damaged. Raises ServerFaultError if `fault` is one of
        SERVER_FAULTS, whether or not the chunk is blocked.
        """
        if fault is not None and fault in SERVER_FAULTS:
            raise ServerFaultError(fault)
        completion = self._completion(request, fault)
        damage = fault if fault != "fenced" else None  # an answer in a Markdown code fence is still readable
        record.outcome = "blocked" if completion.finish_reason in BLOCK_REASONS else damage or "answered"
        return completion

    def draw_fault(self, request: ParsedRequest) -> FaultName | None:
        """Return a random fault for this request, or None for no fault.

        Each repetition of a request gets a new random draw, so that retries can succeed.
        """
        self._attempts[request.sha256] += 1
        rates: dict[FaultName, float] = {
            name: rate for name, rate in self.config.faults.items() if name not in ("blocked", "bare_429")
        }
        return choose_by_rate(rates, self.config.seed, "fault", request.sha256, self._attempts[request.sha256])

    def has_outage(self) -> bool:
        """Return whether the current simulated time is within a configured outage."""
        now = self.now_s()
        return any(start <= now < end for start, end in self.config.outages)

    def _completion(self, request: ParsedRequest, fault: FaultName | None) -> Completion:
        tokens = count_tokens(request.prompt)
        seed = self.config.seed
        # Whether a chunk is blocked depends only on the seed and its hash: all requests about it have the same result.
        if hash_uniform(seed, "blocked", request.chunk_sha256) < self.config.faults.get("blocked", 0.0):
            reason = BLOCK_REASONS[int(hash_uniform(seed, "block reason", request.chunk_sha256) * len(BLOCK_REASONS))]
            return Completion(None, reason, tokens, 0)
        if fault == "empty":
            return Completion(None, "EMPTY", tokens, 0)
        answer = write_answer(request, seed, self.config.defects)
        text, finish_reason = _damage(answer.text, fault)
        if fault in (None, "fenced"):
            self._record_ground_truth(request, answer)
        return Completion(text, finish_reason, tokens, count_tokens(text))

    def _admit(self, record: RequestRecord, key: str | None, request: ParsedRequest) -> None:
        record.project = self.project_of(key) if key else ""
        self.check_key(key)
        if self.has_outage():
            raise ServerFaultError("503")
        tokens = count_tokens(request.prompt)
        violations = self._quota(record.project, record.model).admit(record.received_s, tokens)
        if violations:
            bare = hash_uniform(self.config.seed, "bare", len(self.requests)) < self.config.faults.get("bare_429", 0.0)
            raise QuotaExceededError(violations, record.model, self.config.speed, bare)
        record.tokens, record.admitted = tokens, True

    def _quota(self, project: str, model: str) -> ProjectQuota:
        if (project, model) not in self._quotas:
            quota = self.config.quotas.get(project, self.config.quota)
            self._quotas[project, model] = ProjectQuota(quota, self.config.window)
        return self._quotas[project, model]

    def _latency_s(self, request: ParsedRequest) -> float:
        swing = 2 * hash_uniform(self.config.seed, "latency", request.sha256, self._attempts[request.sha256]) - 1
        return self.config.latency_s * (1 + self.config.latency_spread * swing)

    def _record_ground_truth(self, request: ParsedRequest, answer: WrittenAnswer) -> None:
        for pair in answer.pairs:
            record = pair.ground_truth(request.chunk_sha256)
            self.ground_truth[request.chunk_sha256, pair.type, pair.question, pair.answer] = record


def _damage(text: str, fault: FaultName | None) -> tuple[str, str]:
    """Return the text after the fault, and the finish reason. Only some faults change the text."""
    if fault == "max_tokens":
        return text[: len(text) * 3 // 5], "MAX_TOKENS"
    if fault == "malformed":
        return text[: len(text) * 4 // 5] + "\n\n위와 같이 작성했습니다.", "STOP"
    if fault == "fenced":
        return f"```json\n{text}\n```", "STOP"
    return text, "STOP"
