"""Which rows are good enough to train on, and what the training files are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insurance_rag.core.config_base import Config


class DatasetConfig(Config):
    """What the training files are made of."""

    unanswerable_share: float = Field(default=0.12, ge=0, lt=0.5)
    """Of the RAG rows (v2): a question against another product's clause, answered by the refusal sentence. 0: none."""
    distractor_share: float = Field(default=0.4, ge=0, le=1)
    """Of the RAG rows (v2): further clauses stand beside the right one, as a retriever hands them over. 0: none."""
    distractors: tuple[int, int] = (2, 4)
    """Least and most of them."""
    context_characters: int = Field(default=1600, ge=200)
    """Distractors are added while the context stays below this."""
    caps: dict[Literal["type", "company", "product"], Annotated[float, Field(gt=0, le=1)]] = {}
    """Largest share of any one type, company or product; what is over is left out and counted as `balance`."""
    parquet: bool = True
    """Write parquet/*.parquet beside the JSON files."""
    chat: bool = True
    """Write train_dataset_chat.json: the RAG rows as messages, for chat bases."""
    push_to_hub: str | None = None
    """Hugging Face data set (owner/name) to upload the finished folder to; needs HF_TOKEN."""
    seed: int = 0
    """Of every choice: which rows get which clauses, and what a cap leaves out."""


#: The spec's rules, in its order.
SPEC_RULES = ("required_fields", "duplicate", "too_short", "cut_off", "evasive")


class ValidationConfig(Config):
    """Which rows are good enough to train on. The first rule that drops a row is its reason."""

    rules: tuple[str, ...] = (
        "malformed",
        *SPEC_RULES,
        "missed_refusal",
        "unknown_chunk",
        "stale_clause",
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
    """Rules in the order they are tried, each a function of that name in `insurance_rag.validation`."""
    min_output: int = Field(default=10, ge=1)
    """Characters of the shortest answer; the spec's 10."""
    max_characters: int = Field(default=20_000, ge=100)
    """Of any field; a longer one is malformed."""
    keep_partial_evasions: bool = False
    """Keep answers that answer and then say that a detail is not stated."""
    min_korean: float = Field(default=0.6, ge=0, le=1)
    """Share of Hangul among the letters of an answer."""
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of the 3-grams of question and answer from which the later of two rows is dropped."""
    near_duplicate_question: float = Field(default=0.6, gt=0, le=1)
    """... if their questions alone are this similar too: one clause has one long answer to several questions."""
    leak_similarity: float = Field(default=0.85, gt=0, le=1)
    """Jaccard similarity of the 5-grams of two clauses from which training on one leaks a question on the other."""
    questions_sha256: str | None = None
    """Hash of the frozen evaluation questions; another file is refused."""
    retriever_check: bool = True
    """Search every question with BM25 and note the rank of its clause."""
    max_rank: int | None = Field(default=None, ge=1)
    """Drop rows whose question ranks its clause behind this, as `not_retrieved`; None only reports."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; None takes one a core, and a single one for few rows."""
    dataset: DatasetConfig = DatasetConfig()
    """What is made of the rows that stay."""
