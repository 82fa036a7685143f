"""Settings for making a set of evaluation questions."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.registry import Choice


class QuestionShares(Config):
    """Planned fraction of each kind of question. The fractions add up to 1."""

    fact: float = Field(default=0.30, ge=0, le=1)
    """Questions about an amount, a period or a condition."""
    scenario: float = Field(default=0.22, ge=0, le=1)
    """Questions of a customer who describes a situation."""
    easy: float = Field(default=0.20, ge=0, le=1)
    """Questions in the words of a person who knows little about insurance."""
    two_chunk: float = Field(default=0.03, ge=0, le=1)
    """Scenario questions that need two chunks."""
    near_miss: float = Field(default=0.17, ge=0, le=1)
    """Unanswerable questions about a detail that the policy lacks, although a chunk is about the same matter."""
    far: float = Field(default=0.08, ge=0, le=1)
    """Unanswerable questions about another line of insurance."""

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if abs((total := sum(self.model_dump().values())) - 1) > 0.005:
            raise ValueError(f"shares: the fractions add up to {total:g}; change them so that they add up to 1")
        return self


class QuestionsConfig(Config):
    """Settings for making a set of evaluation questions: how many of which kind, about what, and how they are checked.

    The teacher's own settings are those of `GenerationConfig`.
    """

    n: int = Field(default=200, ge=1, title="Number of questions")
    """Number of questions in the set. With fewer than 200, even a difference of 10 percentage points can be due to
    chance."""
    shares: QuestionShares = QuestionShares()
    """Planned fraction of each kind of question."""
    asked_share: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the chunks that questions may be about. They are chosen by whole documents, or by sections if there
    are fewer than four documents. The others remain for training, because what a question is about is held out. More
    is used if `n` needs it; 1 asks about everything."""
    max_per_chunk: int = Field(default=5, ge=1)
    """Maximum number of questions about one chunk."""
    oversample: float = Field(default=1.8, ge=1, le=10)
    """Number of candidates per question to ask the teacher for. The best ones become questions."""
    max_rounds: int = Field(default=2, ge=1, le=5)
    """Maximum number of times that the teacher is asked. Another round asks only for kinds of which too few candidates
    passed the checks."""
    min_characters: int = Field(default=50, ge=1)
    """Minimum length of a chunk that questions are asked about, in characters."""
    checks: tuple[Annotated[str, Choice("question check")], ...] | None = None
    """Names of the checks to apply. None applies all of them."""
    near_duplicate: float = Field(default=0.7, gt=0, le=1)
    """Minimum similarity (3-grams) at which a question repeats another one or a training question."""
    not_first_share: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the answerable questions whose chunk should not be the first one that BM25 finds. A larger fraction
    makes the set harder for the retriever. If there are too few such candidates, the report shows it."""
    seed: int = 0
    """Seed for every choice: which documents are asked about, and which of several good candidates is used."""
