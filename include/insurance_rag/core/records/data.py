"""Records of the pipeline's data: chunks, keys, shards, QA pairs, questions and answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

QuestionType = Literal["fact", "scenario", "easy", "unanswerable"]
GENERATED_TYPES: tuple[QuestionType, ...] = ("fact", "scenario", "easy")

REFUSAL = "약관에 해당 내용이 없습니다"
"""The refusal sentence, which the RAG instruction prescribes if the context does not contain the answer."""


class Record(BaseModel):
    """Immutable base class of records. An unknown field is an error, so that a typo does not go unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ChunkMetadata(BaseModel):
    """Where a chunk comes from. Additional fields in the input file are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    source: str
    """Document that the chunk comes from, e.g. a file name. Training and evaluation are split by document or, if there
    are too few documents, by section."""
    company: str
    breadcrumbs: str
    """Headings above the chunk, joined by ` > `. The first one is the product."""
    token_count: int = Field(ge=0)
    policy_type: str


class Chunk(BaseModel):
    """One article (제N조) of a policy, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="allow")

    chunk_id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    metadata: ChunkMetadata


class ApiKey(Record):
    """One API key. Keys with the same `project` share that project's quota."""

    id: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    key: SecretStr
    project: str | None = None
    rpm: int | None = Field(default=None, gt=0, description="project's limit in requests per minute")
    tpm: int | None = Field(default=None, gt=0, description="project's limit in input tokens per minute")
    rpd: int | None = Field(default=None, gt=0, description="project's limit in requests per day")

    @field_validator("key", mode="before")
    @classmethod
    def _fits_a_header(cls, key: object) -> object:
        """Strip the newline that secret stores add, and reject characters that an HTTP header cannot contain.

        With such a character, the HTTP client would print the header, and thus the key, in its error message.
        """
        if not isinstance(key, str):
            return key
        if not (key := key.strip()).isascii() or not key.isprintable():
            raise ValueError("the key contains characters that an HTTP header cannot carry")
        return key

    @property
    def pool(self) -> str:
        """Name of the quota pool: the project, or the key's id if no project is given."""
        return self.project or self.id


class Shard(Record):
    """The chunks that are assigned to one API key. Contains the key's id but never the key."""

    shard: int = Field(ge=1, description="shard number, starting at 1, as in dataset_part_{shard}.json")
    of: int = Field(ge=1, description="number of shards in the plan")
    key_id: str
    pool: str = Field(description="quota pool, which all keys of a project share")
    share: float = Field(gt=0, le=1, description="fraction of the pool's quota that this shard may use")
    chunk_ids: list[str]
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None

    @property
    def label(self) -> str:
        return f"shard {self.shard}/{self.of} · {self.key_id}"


class QAPair(Record):
    """A generated question and its answer."""

    chunk_id: str
    type: QuestionType
    instruction: str = Field(description="the question")
    input: str = Field(description="text of the chunk that the pair was generated from")
    output: str = Field(description="the answer")
    evidence: str = Field(default="", description="verbatim quote from the chunk that supports the answer")
    answerable: bool = True
    meta: dict[str, Any] = Field(default_factory=dict, description="lineage, e.g. cache key, model and prompt version")


class Question(Record):
    """One question in a fixed set of evaluation questions."""

    question_id: str
    question: str
    type: QuestionType
    answerable: bool
    gold_chunk_ids: list[str]
    reference_answer: str | None = None
    required_numbers: list[str] = Field(default_factory=list)
    filters: dict[Literal["company", "policy_type"], str] = Field(default_factory=dict)


class Finding(Record):
    """One fault that a check found in an answer."""

    check: str
    span: str = Field(description="the faulty part of the answer")
    evidence: str | None = Field(default=None, description="what the context says instead")


class Answer(Record):
    """One model's answer to one question, with the context that the model was given."""

    question_id: str
    model: str
    question: str
    type: QuestionType
    answerable: bool
    chunk_ids: list[str] = Field(description="ids of the chunks in the context, best first")
    context: str
    raw_answer: str = Field(description="text as generated")
    answer: str = Field(description="answer after post-processing")
    stop_cut: str | None = Field(default=None, description="stop string, stop phrase or `foreign tail` that cut it")
    new_tokens: int = 0
    seconds: float = 0.0


class Verdict(Record):
    """What the checks found in one answer."""

    hallucinated: bool
    findings: list[Finding]
    refusal: Literal["none", "partial", "full"]
