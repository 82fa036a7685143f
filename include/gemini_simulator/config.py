"""Settings of the Gemini simulator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insurance_rag.core.config_base import Config


class QuotaConfig(Config):
    """Quota limits for a project, counted separately for each model.

    None means no limit. If any limit is 0, every request gets status 429.
    """

    rpm: int | None = Field(default=None, ge=0)
    """Maximum number of requests per minute."""
    tpm: int | None = Field(default=None, ge=0)
    """Maximum number of input tokens per minute."""
    rpd: int | None = Field(default=None, ge=0)
    """Maximum number of requests per day."""


FaultName = Literal["503", "500", "502", "drop", "malformed", "max_tokens", "empty", "blocked", "bare_429", "fenced"]


class SimulatorConfig(Config):
    """Settings of the Gemini simulator.

    Durations are in seconds on the simulator's clock, which runs `speed` times as fast as real time.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port to listen on. 0 chooses a free port."""
    speed: float = Field(default=1.0, gt=0)
    """Number of simulated seconds per real second. With 20, a simulated minute lasts three real seconds."""
    quota: QuotaConfig = QuotaConfig()
    """Quota limits for each project that is not listed in `quotas`."""
    quotas: dict[str, QuotaConfig] = {}
    """Quota limits by project, e.g. {"p1": {"rpm": 5}}."""
    window: Literal["rolling", "fixed", "bucket"] = "rolling"
    """How per-minute limits are counted. rolling: over the last 60 s; fixed: per minute on the clock; bucket: with a
    bucket that refills evenly."""
    projects: dict[str, str] = {}
    """Project of each API key. Keys in the same project share a quota. An unlisted key gets a separate project."""
    key_states: dict[str, Literal["invalid", "leaked", "suspended", "disabled"]] = {}
    """API keys to reject, and why. invalid: status 400 (401 in OpenAI's format); the others: status 403."""
    latency_s: float = Field(default=0.3, ge=0)
    """Average number of seconds until an accepted request is answered."""
    latency_spread: float = Field(default=0.0, ge=0, le=1)
    """Maximum deviation from `latency_s`, as a fraction. With 0.2, latencies vary randomly by up to 20%."""
    batch_s: float = Field(default=120.0, ge=0)
    """Number of seconds until a submitted batch is finished."""
    max_running_batches: int = Field(default=100, ge=1)
    """Maximum number of batches that a project may run at a time. Submitting more gets status 429."""
    faults: dict[FaultName, Annotated[float, Field(ge=0, le=1)]] = {}
    """Fraction of requests that get each fault, e.g. {"503": 0.02, "drop": 0.015}. Two faults are counted differently:
    `blocked` is a fraction of the chunks (every request about such a chunk is blocked), and `bare_429` is a fraction of
    the responses with status 429 (these do not say which limit was exceeded)."""
    outages: list[tuple[float, float]] = []
    """Intervals (start, end) on the simulator's clock during which requests get status 503."""
    defects: float = Field(default=0.15, ge=0, le=1)
    """Approximate fraction of pairs that get a defect. GET /ground_truth lists every pair with its defect."""
    seed: int = 0
    """Seed for faults, latencies, answers and defects. The same seed and prompt give the same pairs."""
