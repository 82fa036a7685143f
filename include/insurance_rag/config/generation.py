"""Settings of the generation of question-answer pairs."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.records import GENERATED_TYPES, QuestionType
from insurance_rag.core.registry import Choice


class Price(Config):
    """US dollars per million tokens."""

    input: float = Field(ge=0)
    """Price of input tokens."""
    output: float = Field(ge=0)
    """Price of output tokens, thinking tokens included."""


class GenerationConfig(Config):
    """How a teacher generates question-answer pairs."""

    teacher: Annotated[str, Choice("teacher")] = "gemini"
    """gemini: Google's API or the simulator; openai: any compatible server (vLLM, Ollama); local: a 4-bit model."""
    model: str = "gemini-2.5-flash"
    """Model name of the teacher; part of the cache key of an answer."""
    base_url: str | None = None
    """Server address, without /v1beta for Gemini. None: GEMINI_BASE_URL or OPENAI_BASE_URL, then Google's own."""
    prompt: str | None = None
    """Prompt file in generation/prompts; None: the teacher's default. Its version is part of the cache key."""
    types: tuple[QuestionType, ...] = Field(default=GENERATED_TYPES, min_length=1)
    """Question types to generate for every chunk; part of the cache key."""
    pairs_per_type: int = Field(default=1, ge=1, le=5)
    """Pairs per chunk and question type; part of the cache key."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    """Sampling temperature of the teacher."""
    max_retries: int = Field(default=5, ge=0)
    """Retries per chunk after temporary failures and unreadable answers. 429s of a per-minute quota do not count."""
    request_gap_s: float = Field(default=0.2, ge=0)
    """Minimum seconds between two calls on one key; a larger known quota shortens it."""
    max_in_flight: int = Field(default=64, ge=1)
    """Maximum calls per shard that wait for an answer at the same time; the rate limiter may allow fewer."""
    save_every: int = Field(default=10, ge=1)
    """The part file is rewritten after this many chunks. Answers themselves are on disk at once, in the journal."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Timeout per call in seconds."""
    quota_window_s: float | None = Field(default=None, gt=0)
    """Seconds that the server's minute lasts. None: GEMINI_QUOTA_WINDOW_S (for a sped-up simulator), then 60."""
    repair: bool = True
    """Request pairs that the row rules would drop once more, with the fault named (gemini, openai). Both are kept."""
    redistribute: bool = True
    """Move the unanswered chunks of dead keys to healthy keys."""
    budget_usd: float | None = Field(default=None, gt=0)
    """The run stops cleanly when its cost by `prices` reaches this; None: no limit."""
    prices: dict[str, Price] = {
        "gemini-2.5-flash": Price(input=0.30, output=2.50),
        "gemini-2.5-flash-lite": Price(input=0.10, output=0.40),
        "gemini-2.5-pro": Price(input=1.25, output=10.0),
    }
    """Prices per model (list prices, September 2025); a model without a price costs nothing."""
    batch: bool = False
    """In Airflow: use Gemini's batch mode, at half the price and within a day; suited for scheduled refreshes."""
    batch_poll_s: float = Field(default=300.0, gt=0)
    """Seconds between two status requests for a batch."""
    batch_discount: float = Field(default=0.5, ge=0, le=1)
    """Price of batch mode as a share of the ordinary price."""

    @model_validator(mode="after")
    def _batch_has_no_budget(self) -> Self:
        if self.batch and self.budget_usd is not None:
            raise ValueError("budget_usd cannot stop a batch, which is paid for as a whole; set only one of the two")
        return self
