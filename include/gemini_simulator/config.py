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


FaultName = Literal[
    "503", "500", "502", "drop", "malformed", "max_tokens", "empty", "blocked", "recitation", "bare_429", "fenced"
]
PackFaultName = Literal["fewer", "more", "reordered", "foreign_ids"]
Rate = Annotated[float, Field(ge=0, le=1)]


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
    key_deaths: dict[str, float] = {}
    """API keys that are suspended (status 403) during the run, and from which second on."""
    latency_s: float = Field(default=0.3, ge=0)
    """Average number of seconds until an accepted request is answered."""
    latency_spread: float = Field(default=0.0, ge=0, le=1)
    """Maximum deviation from `latency_s`, as a fraction. With 0.2, latencies vary randomly by up to 20%."""
    output_tokens_per_s: float | None = Field(default=None, gt=0)
    """Speed at which answers are written. If set, an answer takes this much longer than `latency_s`."""
    batch_s: float = Field(default=120.0, ge=0)
    """Number of seconds until a submitted batch is finished."""
    max_running_batches: int = Field(default=100, ge=1)
    """Maximum number of batches that a project may run at a time. Submitting more gets status 429."""
    faults: dict[FaultName, Rate] = {}
    """Fraction of requests that get each fault, e.g. {"503": 0.02, "drop": 0.015}. Three faults are counted
    differently: `blocked` is a fraction of the chunks (every request about such a chunk is blocked), `recitation` is a
    fraction of the chunks of each request with verbatim quotes (see docs/simulator.md), and `bare_429` is a fraction
    of the responses with status 429 (these do not say which limit was exceeded)."""
    outages: list[tuple[float, float]] = []
    """Intervals (start, end) on the simulator's clock during which requests get status 503."""
    recorded: bool = True
    """Answer requests about the sample policies with pairs that were written by hand. If false, all pairs are made from
    the sentences of the chunk, as for other policies."""
    defects: float = Field(default=0.15, ge=0, le=1)
    """Approximate fraction of pairs that get a defect. GET /ground_truth lists every pair with its defect."""
    obedience: Rate = 0.0
    """Fraction of the chunks with orders to the model, such as "ignore the instructions above", whose orders the
    answers follow (prompt injection). Such a pair has the defect `obeyed_instruction`."""
    pack_degradation: float = Field(default=0.002, ge=0, le=1)
    """Loss of quality in requests about several chunks. In a request about n chunks, the pairs of each chunk get lost
    or mixed up with probability `pack_degradation` x (n - 1), and `defects` is multiplied by
    1 + 2 x `pack_degradation` x (n - 1)."""
    pack_faults: dict[PackFaultName, Rate] = {}
    """Fraction of the requests about several chunks that get each fault. fewer: the pairs of some chunks are missing;
    more: there are pairs that were not requested; reordered: the pairs are shuffled; foreign_ids: the pairs of some
    chunks have chunk ids that are not in the request."""
    poison: Rate = 0.0
    """Fraction of the chunks that make the answer to every request about several chunks unreadable. Alone, such a chunk
    is answered normally."""
    token_count_factor: float = Field(default=1.0, gt=0)
    """Factor by which the token counts in the usage data of an answer are wrong. Quotas count the true tokens."""
    models: tuple[str, ...] = (
        "gemini-3.8-flash",
        "gemini-3.7-flash",
        "gemini-3.6-flash",
        "gemini-3.5-flash",
        "gemini-3.5-flash-lite",
        "gemini-3.1-flash-lite",
        "gemini-2.5-flash",
        "gemini-2.5-flash-lite",
        "gemini-2.5-pro",
    )
    """Models that GET /models lists. Other models whose name starts with `gemini-` do not exist. All other names are
    accepted."""
    routed_models: dict[str, str] = {}
    """Retired models and the model that answers instead, e.g. {"gemini-2.5-flash": "gemini-3.5-flash-lite"}. Retired
    models are not listed any more."""
    seed: int = 0
    """Seed for faults, latencies, answers and defects. The same seed and prompt give the same pairs."""
