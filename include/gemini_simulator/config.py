"""Settings of the Gemini simulator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insurance_rag.core.config_base import Config


class QuotaConfig(Config):
    """Limits of one project, for each model. None is unlimited; 0 means that the project may not use the model."""

    rpm: int | None = Field(default=None, ge=0)
    """Requests per minute."""
    tpm: int | None = Field(default=None, ge=0)
    """Input tokens per minute."""
    rpd: int | None = Field(default=None, ge=0)
    """Requests per day."""


FaultName = Literal["503", "500", "502", "drop", "malformed", "max_tokens", "empty", "blocked", "bare_429", "fenced"]


class SimulatorConfig(Config):
    """Settings of the Gemini simulator.

    Durations are in seconds of the simulator's clock, which runs `speed` times as fast as real time.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port to listen on; 0 chooses a free one."""
    speed: float = Field(default=1.0, gt=0)
    """Simulated seconds per real second. Quota windows, latencies and reported delays all shrink by this factor."""
    quota: QuotaConfig = QuotaConfig()
    """Limits of every project that `quotas` does not list."""
    quotas: dict[str, QuotaConfig] = {}
    """Limits by project: {"p1": {"rpm": 5}}."""
    window: Literal["rolling", "fixed", "bucket"] = "rolling"
    """How a minute is counted: the last 60 s, whole minutes of the clock, or a bucket that refills evenly."""
    projects: dict[str, str] = {}
    """Project by key. Keys of one project share its quota; a key that is not listed has a project of its own."""
    key_states: dict[str, Literal["invalid", "leaked", "suspended", "disabled"]] = {}
    """Keys to reject: `invalid` with status 400 (API_KEY_INVALID), the others with status 403 and their reason."""
    latency_s: float = Field(default=0.3, ge=0)
    """Seconds from an admitted request to its answer."""
    latency_spread: float = Field(default=0.0, ge=0, le=1)
    """Each latency is drawn from latency_s * (1 +- latency_spread)."""
    batch_s: float = Field(default=120.0, ge=0)
    """Seconds from the submission of a batch to its result."""
    max_running_batches: int = Field(default=100, ge=1)
    """Batches that one project may run at the same time; the next one is refused with status 429."""
    faults: dict[FaultName, Annotated[float, Field(ge=0, le=1)]] = {}
    """Rate of each fault among requests: {"503": 0.02, "drop": 0.015}. `blocked` is a share of chunks instead: a chunk
    is blocked in every request or in none."""
    outages: list[tuple[float, float]] = []
    """Spans (from, to) of the clock during which every request is answered with status 503."""
    defects: float = Field(default=0.15, ge=0, le=1)
    """Share of the pairs that get a defect; GET /ground_truth lists the defect of every pair."""
    seed: int = 0
    """Seed of faults, latencies, answers and defects: the same seed and chunk give the same answer."""
