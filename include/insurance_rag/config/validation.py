"""Settings for validation (which rows are good enough to train on) and for the content of the training files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.registry import Choice


class DatasetConfig(Config):
    """Content of the training files.

    "Retrieval-style rows" are rows in a prompt format with retrieved contexts, such as `rag`.
    """

    unanswerable_share: float = Field(default=0.12, ge=0, lt=0.5)
    """Fraction of retrieval-style rows whose context does not contain the answer, so that the correct answer is a
    refusal. 0 adds no such rows."""
    distractor_share: float = Field(default=0.4, ge=0, le=1)
    """Fraction of retrieval-style rows whose context also contains distractors. These are chunks that a
    retriever might return but that do not contain the answer."""
    distractors: tuple[int, int] = (2, 4)
    """Minimum and maximum number of chunks to add to a context with distractors."""
    context_characters: int = Field(default=1600, ge=200)
    """Maximum length of a context with distractors, in characters."""
    caps: dict[Literal["type", "company", "product"], Annotated[float, Field(gt=0, le=1)]] = {}
    """Maximum fraction of the training rows that any one type, company or product may have, e.g. `{"product": 0.3}`.
    Rows above a cap are left out and counted as `balance`."""
    parquet: bool = True
    """Also write every data file as Parquet, in the folder `parquet`."""
    chat: bool = True
    """Also write the retrieval-style rows as chat messages, for base models with a chat template."""
    push_to_hub: str | None = None
    """Hugging Face dataset (owner/name) to which the finished folder is uploaded; requires HF_TOKEN."""
    seed: int = 0
    """Seed for every random choice: contexts, refusals, and the rows that a cap leaves out."""


REFERENCE_RULES = ("required_fields", "duplicate", "too_short", "cut_off", "evasive")
"""The rules of the reference design (docs/origin.md), in the order in which it applies them."""


class ValidationConfig(Config):
    """Settings that decide which rows are good enough to train on."""

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
    """Names of the rules, in the order in which they are applied. A row's reason is the first rule that drops it."""
    min_output: int = Field(default=10, ge=1)
    """Minimum length of an answer in characters. The reference design also uses 10."""
    max_characters: int = Field(default=20_000, ge=100)
    """Maximum length of each text field in characters. A row with a longer field is dropped as `malformed`."""
    keep_partial_evasions: bool = False
    """Keep answers that answer the question but add that some detail is not stated."""
    min_korean: float = Field(default=0.6, ge=0, le=1)
    """Minimum fraction of Hangul among the letters of a question or an answer."""
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    """Minimum Jaccard similarity (3-grams of question and answer) at which two rows are near duplicates. The later row
    is dropped."""
    near_duplicate_question: float = Field(default=0.6, gt=0, le=1)
    """Minimum similarity that the questions alone must also have for two rows to be near duplicates. Otherwise,
    different questions about one chunk would be near duplicates if they had the same long answer."""
    leak_similarity: float = Field(default=0.85, gt=0, le=1)
    """A chunk is excluded from training if its Jaccard similarity (5-grams) to a gold chunk of the evaluation is at
    least this high."""
    questions_sha256: str | None = None
    """Expected hash of the evaluation questions. A file with different questions is rejected; None accepts any file."""
    retriever_check: bool = True
    """Search for every question with BM25 and record the rank of the question's own chunk."""
    max_rank: int | None = Field(default=None, ge=1)
    """Worst rank that a row's chunk may have in the BM25 search. Rows with a worse rank are dropped as `not_retrieved`;
    None drops no rows."""
    workers: int | None = Field(default=None, ge=1)
    """Number of processes. None uses one per CPU core, or a single process for a small dataset."""
    dataset: DatasetConfig = DatasetConfig()
    """Content of the training files."""

    @field_validator("rules")
    @classmethod
    def _reject_duplicates(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        if duplicates := sorted({name for name in rules if rules.count(name) > 1}):
            raise ValueError(", ".join(f"duplicate rule {name!r}" for name in duplicates) + "; name each rule once")
        return rules
