"""How question-answer pairs are asked for."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.records import GENERATED_TYPES, QuestionType


class Price(Config):
    """US dollars for a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class GenerationConfig(Config):
    """How question-answer pairs are asked for."""

    teacher: Literal["gemini", "openai", "local"] = "gemini"
    """gemini: Google's API or the simulator; openai: any compatible server (vLLM, Ollama); local: a 4-bit model."""
    model: str = "gemini-2.5-flash"
    """The teacher's model name; part of what a pair is keyed by."""
    base_url: str | None = None
    """Server address without /v1beta; None takes GEMINI_BASE_URL, then Google's own."""
    prompt: str | None = None
    """A file of generation/prompts (None: qa_v1, or local_v1); its version is part of what a pair is keyed by."""
    types: tuple[QuestionType, ...] = Field(default=GENERATED_TYPES, min_length=1)
    """Question types asked for of every clause."""
    pairs_per_type: int = Field(default=1, ge=1, le=5)
    """Pairs wanted of each type from each clause."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_retries: int = Field(default=5, ge=0)
    """Tries after the first for passing faults of one clause. A 429 of a minute's quota waits and does not count."""
    request_gap_s: float = Field(default=0.2, ge=0)
    """Least time between two calls on one key; shorter where a known quota allows more calls than that."""
    max_in_flight: int = Field(default=64, ge=1)
    """Most calls of one shard that wait for their answer; the pace decides how many of them are used."""
    save_every: int = Field(default=10, ge=1)
    """The part file is rewritten from the journal after this many chunks (an answer is on disk at once)."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Of one call."""
    quota_window_s: float | None = Field(default=None, gt=0)
    """Seconds that the server's minute lasts; None takes GEMINI_QUOTA_WINDOW_S (a sped-up simulator), then 60."""
    repair: bool = True
    """Ask once more for pairs that the row rules would drop (gemini, openai), with the fault named; both are kept."""
    redistribute: bool = True
    """Plan what a dead key left over again, over the healthy keys."""
    budget_usd: float | None = Field(default=None, gt=0)
    """The run stops cleanly before its cost by `prices` passes this; None is no limit."""
    prices: dict[str, Price] = {
        "gemini-2.5-flash": Price(input=0.30, output=2.50),
        "gemini-2.5-flash-lite": Price(input=0.10, output=0.40),
        "gemini-2.5-pro": Price(input=1.25, output=10.0),
    }
    """Price of a million tokens by model (list prices, 2025-09); a model that is not listed counts as free."""
    batch: bool = False
    """In Airflow: Gemini's batch mode, at half the price and within a day; for scheduled refreshes."""
    batch_poll_s: float = Field(default=300.0, gt=0)
    """Between two looks at a batch."""
    batch_discount: float = Field(default=0.5, ge=0, le=1)
    """What batch mode costs, as a share of the price."""

    @model_validator(mode="after")
    def _batch_has_no_budget(self) -> Self:
        if self.batch and self.budget_usd is not None:
            raise ValueError("a batch is paid for as a whole, budget_usd could not stop it: set one of the two")
        return self
