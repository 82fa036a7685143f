"""Settings of validation: which rows are good enough to train on, and what the training files contain."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.registry import Choice


class DatasetConfig(Config):
    """What the training files contain. "Retrieval-style rows" are those of prompt formats with retrieved contexts."""

    unanswerable_share: float = Field(default=0.12, ge=0, lt=0.5)
    """Share of retrieval-style rows whose context lacks the answer, so that the answer is a refusal. 0 adds none."""
    distractor_share: float = Field(default=0.4, ge=0, le=1)
    """Share of retrieval-style rows with further chunks next to the right one, as a retriever returns them."""
    distractors: tuple[int, int] = (2, 4)
    """Minimum and maximum number of distractor chunks in such a row."""
    context_characters: int = Field(default=1600, ge=200)
    """Maximum length of a context with distractors, in characters."""
    caps: dict[Literal["type", "company", "product"], Annotated[float, Field(gt=0, le=1)]] = {}
    """Maximum share of a single type, company or product. Rows above it are left out and counted as `balance`."""
    parquet: bool = True
    """Also write every data file as Parquet, into the folder `parquet`."""
    chat: bool = True
    """Also write the retrieval-style rows as chat messages, for base models with a chat template."""
    push_to_hub: str | None = None
    """Hugging Face data set (owner/name) that the finished folder is uploaded to; needs HF_TOKEN."""
    seed: int = 0
    """Seed of every random choice: the contexts, the refusals, and the rows that a cap leaves out."""


REFERENCE_RULES = ("required_fields", "duplicate", "too_short", "cut_off", "evasive")
"""The rules of the reference design (docs/origin.md), in its order."""


class ValidationConfig(Config):
    """Which rows are good enough to train on."""

    rules: tuple[Annotated[str, Choice("rule")], ...] = (
        "malformed",
        *REFERENCE_RULES,
        "missed_refusal",
        "unknown_chunk",
        "stale_chunk",
        "prompt_echo",
        "foreign_tail",
        "repetition",
        "not_korean",
        "open_ended",
        "not_standalone",
        "unsupported_article",
        "unsupported_number",
        "evidence",
        "leak",
        "near_duplicate",
        "not_retrieved",
    )
    """Names of the rules, in the order in which they are applied. The first rule that drops a row is its reason."""
    min_output: int = Field(default=10, ge=1)
    """Minimum length of an answer in characters; 10 in the reference design."""
    max_characters: int = Field(default=20_000, ge=100)
    """Maximum length of a field in characters; a row with a longer one is malformed."""
    keep_partial_evasions: bool = False
    """Keep answers that answer the question and add that a detail is not stated."""
    min_korean: float = Field(default=0.6, ge=0, le=1)
    """Minimum share of Hangul among the letters of a question or an answer."""
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    """Minimum similarity (Jaccard, 3-grams of question and answer) of two rows of which the later one is dropped."""
    near_duplicate_question: float = Field(default=0.6, gt=0, le=1)
    """Minimum similarity of their questions: one chunk can have the same long answer to different questions."""
    leak_similarity: float = Field(default=0.85, gt=0, le=1)
    """Minimum similarity (Jaccard, 5-grams) to a gold chunk of the evaluation at which a chunk is not trained on."""
    questions_sha256: str | None = None
    """Hash of the frozen evaluation questions; any other question file is rejected."""
    retriever_check: bool = True
    """Search every question with BM25 and record the rank of its chunk."""
    max_rank: int | None = Field(default=None, ge=1)
    """Drop rows whose chunk has a worse rank, as `not_retrieved`; None only records the rank."""
    workers: int | None = Field(default=None, ge=1)
    """Number of processes; None uses one per core, or a single process for a small dataset."""
    dataset: DatasetConfig = DatasetConfig()
    """What the training files contain."""

    @field_validator("rules")
    @classmethod
    def _reject_duplicates(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        if duplicates := sorted({name for name in rules if rules.count(name) > 1}):
            raise ValueError(", ".join(f"duplicate rule {name!r}" for name in duplicates) + "; name each rule once")
        return rules
