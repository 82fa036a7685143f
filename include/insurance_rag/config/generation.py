"""Settings for generating question-answer pairs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.records import GENERATED_TYPES, QuestionType
from insurance_rag.core.registry import Choice


class Price(Config):
    """Price of a model in US dollars per million tokens."""

    input: float = Field(ge=0)
    """Price of input tokens."""
    output: float = Field(ge=0)
    """Price of output tokens, including thinking tokens."""


class QuestionStyle(Config):
    """Plan for the style of the questions. Every chunk gets a different combination, chosen by a hash of its text.

    All fields are part of each answer's cache key.
    """

    personas: tuple[str, ...] = (
        "30대 직장인",
        "60대 은퇴자",
        "어린 자녀를 둔 부모",
        "부모의 보험을 대신 알아보는 자녀",
        "자영업자",
        "보험이 처음인 20대",
    )
    """People who ask the questions."""
    registers: tuple[str, ...] = ("정중한 문의", "편한 구어체", "짧은 검색어투")
    """Manners of speaking of the questions."""
    difficulties: tuple[str, ...] = ("쉬움", "보통", "어려움")
    """Levels of difficulty of the questions."""
    yes_no_share: float = Field(default=0.2, ge=0, le=1)
    """Fraction of the answerable questions that are asked as yes-or-no questions. Half of them expect a no."""
    calculation_share: float = Field(default=0.2, ge=0, le=1)
    """Fraction of the `scenario` questions about chunks with amounts or periods that require a calculation. The answer
    states its steps."""
    near_miss_share: float = Field(default=0.35, ge=0, le=1)
    """Fraction of the chunks for which one `unanswerable` question is generated: a question about a detail that the
    chunk lacks, although the chunk is about the same matter."""
    two_chunk_share: float = Field(default=0.1, ge=0, le=1)
    """Fraction of the chunks that cite another article of their document and get a `scenario` question that needs
    both."""
    two_chunk_neighbors: bool = False
    """Also ask for questions that need two chunks about chunks that cite no other article, together with the next chunk
    of their section."""


class GenerationConfig(Config):
    """Settings of the teacher, the model that generates question-answer pairs."""

    teacher: Annotated[str, Choice("teacher")] = "gemini"
    """gemini: Google's API or the simulator; openai: any OpenAI-compatible server (vLLM, Ollama); local: a 4-bit model
    on this machine."""
    model: str = "gemini-3.5-flash-lite"
    """Name of the teacher's model. It is part of each answer's cache key."""
    keep_answers_of: tuple[str, ...] = ()
    """Earlier teacher models whose answers are reused as they are. Only new and changed chunks are requested from
    `model`."""
    base_url: str | None = None
    """Server address (without /v1beta for Gemini). None: openai uses OPENAI_BASE_URL; gemini uses
    GEMINI_BASE_URL if that is set, otherwise Google's address."""
    prompt: str | None = None
    """Prompt file in generation/prompts. None uses the teacher's default. The prompt's version is part of each answer's
    cache key."""
    types: tuple[QuestionType, ...] = Field(default=GENERATED_TYPES, min_length=1)
    """Types of questions to generate for every chunk. They are part of each answer's cache key."""
    pairs_per_type: int = Field(default=1, ge=1, le=10)
    """Number of pairs per chunk and question type. It is part of each answer's cache key."""
    questions: QuestionStyle = QuestionStyle()
    """Personas, registers, difficulty and forms of the questions (gemini and openai only)."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature of the teacher. None: the temperature in the model catalog, or 0.7 for other models."""
    thinking: str | None = None
    """Thinking level of the teacher, e.g. `minimal` or `low`. None: the lowest level in the model catalog."""
    chunks_per_call: int | Literal["auto"] = "auto"
    """Number of chunks in one request. auto: as many as the quality of the answers allows, if requests are scarcer than
    tokens. 1: one chunk per request."""
    max_retries: int = Field(default=5, ge=0)
    """Maximum number of retries per chunk after unusable answers, and per chunk and requeue after server failures.
    Server failures count only while other chunks are answered, and a chunk is requeued twice. Rejections by a
    per-minute quota (429) do not count."""
    request_gap_s: float = Field(default=0.2, ge=0)
    """Minimum number of seconds between two calls with the same key. The gap becomes shorter if the quota is known to
    allow more calls."""
    max_in_flight: int = Field(default=64, ge=1)
    """Maximum number of calls per shard that wait for an answer at the same time. The rate limiter may allow fewer."""
    save_every: int = Field(default=10, ge=1)
    """Minimum number of new answers before the part file is rewritten. Nothing is lost in between, because every answer
    is written to the journal at once."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Timeout for one call, in seconds."""
    quota_window_s: float | None = Field(default=None, gt=0)
    """Length of the server's per-minute quota window, in seconds. None: the environment variable
    GEMINI_QUOTA_WINDOW_S, or 60 if it is not set. A simulator that runs faster than real time has a shorter window."""
    repair: bool = True
    """If a repairable rule would drop a pair, send a second request with a prompt that names the fault (gemini and
    openai only). The first answer is kept as well."""
    redistribute: bool = True
    """Let workers that have no chunks left answer chunks of slower and dead keys."""
    budget_usd: float | None = Field(default=None, gt=0)
    """Cost in US dollars, before which the run stops cleanly. None: no limit."""
    prices: dict[str, Price] = {}
    """Prices that replace or extend those in the model catalog. A model without any price counts as free."""
    batch: bool = False
    """Use Gemini's batch mode, which costs half as much and answers within a day. Only in Airflow; suited to scheduled
    refreshes."""
    batch_poll_s: float = Field(default=300.0, gt=0)
    """Number of seconds between two status requests for a batch."""
    batch_discount: float | None = Field(default=None, ge=0, le=1)
    """Price of batch mode as a fraction of the regular price. None: the fraction in the model catalog, or 1."""

    @model_validator(mode="after")
    def _at_least_one_chunk_per_call(self) -> Self:
        if self.chunks_per_call != "auto" and self.chunks_per_call < 1:
            raise ValueError(f"chunks_per_call is {self.chunks_per_call}; use auto, or a number from 1")
        return self

    @model_validator(mode="after")
    def _batch_has_no_budget(self) -> Self:
        if self.batch and self.budget_usd is not None:
            raise ValueError("budget_usd cannot stop a batch, which is paid for as a whole; set only one of the two")
        return self
