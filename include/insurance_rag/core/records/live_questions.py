"""Records of the import of live questions: questions and feedback from production, without personal data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record

LiveOutcome = Literal["answered", "refused", "uncertain"]
ReviewReason = Literal["refused", "corrected", "uncertain", "disliked"]
QuestionForm = Literal["polite", "formal", "casual", "keywords"]


class LiveRecord(Record):
    """One question that a customer asked, with its answer and feedback. Texts are anonymized."""

    key: str = Field(description="hash of the id in the file and the question; without an id, of the content")
    question: str
    answer: str = ""
    correction: str = Field(default="", description="answer of the agent who corrected the assistant")
    outcome: LiveOutcome = "answered"
    disliked: bool = False
    confidence: float | None = None
    date: str = ""
    company: str = ""
    policy_type: str = ""
    personal_data: dict[str, int] = Field(default_factory=dict, description="name of the rule -> replacements")


class LiveMatch(Record):
    """The chunk that the retriever found for a question."""

    key: str = Field(description="hash of the question, its filters, the chunks and the retriever")
    chunk_id: str | None = None
    score: float = 0.0


class LiveQuestion(Record):
    """A distinct live question, with what was found about it. One line of live_questions.jsonl."""

    question_id: str
    question: str
    asked: int = Field(description="number of times that the question, or nearly the same one, was asked")
    reasons: list[ReviewReason] = Field(description="why a person should look at it; empty if there is no reason")
    chunk_id: str | None = Field(description="the best chunk; None if its score is below the minimum")
    score: float
    answer: str = ""
    correction: str = ""
    filters: dict[Literal["company", "policy_type"], str] = Field(default_factory=dict)
    known: bool = Field(default=False, description="whether the frozen set or the training rows ask nearly the same")


class GenerationTarget(Record):
    """A chunk about which customers ask more than the dataset covers."""

    chunk_id: str
    heading: str
    live_questions: int
    pairs: int = Field(description="generated pairs about the chunk in the dataset")


class QuestionStats(Record):
    """How a set of questions is made up. Shares are fractions of the questions."""

    questions: int
    mean_characters: float
    median_characters: float
    lengths: dict[str, float] = Field(description="range of characters -> share")
    forms: dict[QuestionForm, float]
    products: dict[str, float] = Field(description="product of the chunk -> share")
    without_chunk: float
    outside_words: float = Field(description="share of the nouns that do not occur in the policy")
    outside_examples: dict[str, int] = Field(description="the most frequent of these nouns -> number of questions")


class LiveCounts(Record):
    """Numbers of records and questions of an import folder."""

    records: int
    distinct: int = Field(description="questions without exact and near duplicates")
    exact_duplicates: int
    near_duplicates: int
    refused: int
    refused_without_chunk: int = Field(description="refused questions for which no chunk was found")
    corrected: int
    uncertain: int
    disliked: int
    known: int


class LiveReport(Record):
    """Content of report.json."""

    counts: LiveCounts
    personal_data: dict[str, int] = Field(description="name of the rule -> replacements; never the found text")
    left_out: dict[str, int] = Field(description="reason -> lines of the files of the last import that were left out")
    min_score: float
    retriever: str
    chunks_sha256: str
    live: QuestionStats
    frozen: QuestionStats | None
    review_items: int
    new_questions: int
    targets: list[GenerationTarget]
    warnings: list[str]


class LiveImportArtifact(Artifact):
    """Result of `questions import`: the report, and what is in the folder."""

    new_records: int = Field(description="records that were not in the folder yet")
    records: int
    distinct: int
    without_chunk: float
    personal_data: dict[str, int]
    review_items: int
    new_questions: int
    generation_targets: int
    report: str
    warnings: list[str]
