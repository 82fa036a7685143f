"""What the Gemini look-alike does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insurance_rag.core.config_base import Config


class QuotaConfig(Config):
    """Limits of one project, for each model; None is unlimited, 0 means the model is not in the project's tier."""

    rpm: int | None = Field(default=None, ge=0)
    """Requests a minute."""
    tpm: int | None = Field(default=None, ge=0)
    """Input tokens a minute."""
    rpd: int | None = Field(default=None, ge=0)
    """Requests a day."""


FaultName = Literal["503", "500", "502", "drop", "malformed", "max_tokens", "empty", "blocked", "bare_429", "fenced"]


class SimulatorConfig(Config):
    """The Gemini look-alike. Durations are in seconds of its own clock, which runs `speed` times as fast as ours."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0 takes a free one."""
    speed: float = Field(default=1.0, gt=0)
    """Its minute lasts 60 / speed of our seconds: quota windows, latencies and the delays it names shrink alike."""
    quota: QuotaConfig = QuotaConfig()
    """Of every project that `quotas` does not name."""
    quotas: dict[str, QuotaConfig] = {}
    """By project: {"p1": {"rpm": 5}}."""
    window: Literal["rolling", "fixed", "bucket"] = "rolling"
    """How a minute is counted: the last 60 s, the minute of the clock, or a bucket that refills steadily."""
    projects: dict[str, str] = {}
    """Key -> project. Keys of one project share its quota; a key that is not listed is a project of its own."""
    key_states: dict[str, Literal["invalid", "leaked", "suspended", "disabled"]] = {}
    """Keys that are refused: 400 API_KEY_INVALID, or 403 with the reason of that name."""
    latency_s: float = Field(default=0.3, ge=0)
    """From an admitted request to its answer."""
    latency_spread: float = Field(default=0.0, ge=0, le=1)
    """A latency is drawn from latency_s * (1 +- spread)."""
    batch_s: float = Field(default=120.0, ge=0)
    """From the submission of a batch to its result."""
    batch_jobs: int = Field(default=100, ge=1)
    """Batches that one project may have running; the next one is a 429."""
    faults: dict[FaultName, Annotated[float, Field(ge=0, le=1)]] = {}
    """Share of requests: {"503": 0.02, "drop": 0.015, "blocked": 0.005}. `blocked` is a share of clauses, for good."""
    outages: list[tuple[float, float]] = []
    """Spans (from, to) of the clock in which every request is a 503."""
    defects: float = Field(default=0.15, ge=0, le=1)
    """Share of the pairs that are wrong on purpose; GET /truth says which and how."""
    seed: int = 0
    """Of faults, latencies, answers and defects: the same seed and clause give the same answer."""
