"""Handles requests in both API formats: checks the key, the model, outages and the quota, and delivers the answer."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter
from dataclasses import dataclass, field

from gemini_simulator.completion import Completion, count_tokens
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.errors import (
    KeyRefusedError,
    ModelNotFoundError,
    QuotaExceededError,
    RequestRefusedError,
    ServerFaultError,
)
from gemini_simulator.pairs import GroundTruth
from gemini_simulator.parsed_request import ParsedRequest
from gemini_simulator.quota import ProjectQuota
from gemini_simulator.records import RequestRecord, record_request
from gemini_simulator.reply import Reply, make_reply
from gemini_simulator.seeded_random import Attempt, hash_uniform

#: Latency of an error response in simulated seconds. It is shorter than the latency of an answer.
REFUSAL_S = 0.1

#: Start of the names of the models that must exist. Requests may use any other name.
_CHECKED_PREFIX = "gemini-"


def key_fingerprint(key: str) -> str:
    """Return a short name that identifies a key without revealing it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


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
        if self.now_s() >= self.config.key_deaths.get(key, math.inf):
            raise KeyRefusedError("suspended", project)
        return project

    @property
    def listed_models(self) -> list[str]:
        """Names of the models in the response to GET /models. Retired models are missing."""
        return [name for name in self.config.models if name not in self.config.routed_models]

    def answering_model(self, model: str, method: str = "generateContent") -> str:
        """Return the model that answers requests for `model`. Raises ModelNotFoundError if there is no such model."""
        if model in self.config.routed_models:
            return self.config.routed_models[model]
        if model.startswith(_CHECKED_PREFIX) and model not in self.config.models:
            raise ModelNotFoundError(model, method)
        return model

    async def complete(self, key: str | None, model: str, request: ParsedRequest) -> Completion:
        """Answer a generateContent or chat completion request after the configured latency.

        Raises RequestRefusedError if the request gets an error instead of an answer.
        """
        record = record_request(self.now_s(), key_fingerprint(key or ""), "", model, request)
        self.requests.append(record)
        try:
            self._admit(record, key, request)
            record.outcome = "in_flight"
            reply = await self._reply(request)
        except RequestRefusedError as e:
            record.outcome = e.outcome
            await self.sleep(REFUSAL_S)
            raise
        finally:
            record.finished_s = self.now_s()
        return self.deliver(record, reply)

    def deliver(self, record: RequestRecord, reply: Reply) -> Completion:
        """Record the reply's outcome and ground truth. Returns the completion with the token counts to report."""
        record.outcome, record.replied_outcomes = reply.outcome, reply.chunk_outcomes
        for truth in reply.ground_truth:
            self.ground_truth[truth["chunk_sha256"], truth["type"], truth["question"], truth["answer"]] = truth
        return reply.completion.with_scaled_counts(self.config.token_count_factor)

    def next_attempt(self, request: ParsedRequest) -> Attempt:
        """Count a new attempt at this request and return it."""
        self._attempts[request.sha256] += 1
        return Attempt(self.config.seed, request.sha256, self._attempts[request.sha256])

    def latency_s(self, attempt: Attempt, completion: Completion | None = None) -> float:
        """Return the number of seconds until the reply, including the time to write the completion, if there is one."""
        swing = 2 * attempt.uniform("latency") - 1
        latency_s = self.config.latency_s * (1 + self.config.latency_spread * swing)
        if completion is None or self.config.output_tokens_per_s is None:
            return latency_s
        return latency_s + (completion.output_tokens + completion.thought_tokens) / self.config.output_tokens_per_s

    def has_outage(self) -> bool:
        """Return whether the current simulated time is within a configured outage."""
        now = self.now_s()
        return any(start <= now < end for start, end in self.config.outages)

    async def _reply(self, request: ParsedRequest) -> Reply:
        """Return the reply after its latency. A server failure has a latency as well."""
        attempt = self.next_attempt(request)
        try:
            reply = make_reply(self.config, request, attempt)
        except ServerFaultError:
            await self.sleep(self.latency_s(attempt))
            raise
        await self.sleep(self.latency_s(attempt, reply.completion))
        return reply

    def _admit(self, record: RequestRecord, key: str | None, request: ParsedRequest) -> None:
        record.project = self.project_of(key) if key else ""
        self.check_key(key)
        model = self.answering_model(record.model)
        if self.has_outage():
            raise ServerFaultError("503")
        tokens = count_tokens(request.prompt)
        violations = self._quota(record.project, model).admit(record.received_s, tokens)
        if violations:
            bare = hash_uniform(self.config.seed, "bare", len(self.requests)) < self.config.faults.get("bare_429", 0.0)
            raise QuotaExceededError(violations, model, self.config.speed, bare)
        record.tokens, record.admitted = tokens, True

    def _quota(self, project: str, model: str) -> ProjectQuota:
        if (project, model) not in self._quotas:
            quota = self.config.quotas.get(project, self.config.quota)
            self._quotas[project, model] = ProjectQuota(quota, self.config.window)
        return self._quotas[project, model]
