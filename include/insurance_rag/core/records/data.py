"""Rows that cross a stage border. Field names and type names are those of the files on disk."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

QuestionType = Literal["fact", "scenario", "easy", "unanswerable"]
GENERATED_TYPES: tuple[QuestionType, ...] = ("fact", "scenario", "easy")

#: The sentence the RAG instruction asks for where the clause does not say it.
REFUSAL = "약관에 해당 내용이 없습니다"


class Record(BaseModel):
    """An immutable row; unknown fields are an error, so that a typo does not get lost."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ChunkMetadata(BaseModel):
    """Where a clause comes from; further fields of the source are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    source: str
    company: str
    breadcrumbs: str
    token_count: int = Field(ge=0)
    policy_type: str


class Chunk(BaseModel):
    """One clause (조) or part of one."""

    model_config = ConfigDict(frozen=True, extra="allow")

    chunk_id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    metadata: ChunkMetadata


class ApiKey(Record):
    """One API key; `project` is the quota pool it draws from, its own id where none is given."""

    id: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    key: SecretStr
    project: str | None = None
    rpm: int | None = Field(default=None, gt=0, description="requests a minute of the project")
    tpm: int | None = Field(default=None, gt=0, description="input tokens a minute of the project")
    rpd: int | None = Field(default=None, gt=0, description="requests a day of the project")

    @field_validator("key", mode="before")
    @classmethod
    def _fits_a_header(cls, key: Any) -> Any:
        """Without the newline that secret stores add; what no header can carry would be printed by the HTTP client."""
        if not isinstance(key, str):
            return key
        if not (key := key.strip()).isascii() or not key.isprintable():
            raise ValueError("the key holds characters no header can carry")
        return key

    @property
    def pool(self) -> str:
        return self.project or self.id


class Shard(Record):
    """The chunks one API key answers for. Never holds the key itself, only its id."""

    shard: int = Field(ge=1, description="1-based number; the part file is dataset_part_{shard}.json")
    of: int = Field(ge=1)
    key_id: str
    pool: str = Field(description="quota pool: keys of one project share it")
    share: float = Field(gt=0, le=1, description="this shard's share of its pool's quota")
    chunk_ids: list[str]
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None

    @property
    def label(self) -> str:
        return f"shard {self.shard}/{self.of} · {self.key_id}"


class QAPair(Record):
    """A generated question and answer; `instruction` is the question, `input` the clause it was drawn from."""

    chunk_id: str
    type: QuestionType
    instruction: str
    input: str
    output: str
    evidence: str = Field(default="", description="verbatim quote of the clause that the answer rests on")
    answerable: bool = True
    meta: dict[str, Any] = Field(default_factory=dict, description="lineage: content key, model, prompt version ...")


class Question(Record):
    """A frozen evaluation question."""

    question_id: str
    question: str
    type: QuestionType
    answerable: bool
    gold_chunk_ids: list[str]
    reference_answer: str | None = None
    required_numbers: list[str] = Field(default_factory=list)
    filters: dict[Literal["company", "policy_type"], str] = Field(default_factory=dict)


class Finding(Record):
    """One fault of an answer: the check that found it, the span at fault, the evidence beside it."""

    check: str
    span: str
    evidence: str | None = None


class Answer(Record):
    """What one model said to one question, with the clauses it was shown."""

    question_id: str
    model: str
    question: str
    type: QuestionType
    answerable: bool
    chunk_ids: list[str] = Field(description="clauses in the context, best first")
    context: str
    raw_answer: str = Field(description="as generated")
    answer: str = Field(description="after the stop phrases cut it")
    stop_cut: str | None = Field(default=None, description="the stop phrase that cut it")
    new_tokens: int = 0
    seconds: float = 0.0


class Verdict(Record):
    """The checks' opinion of one answer."""

    hallucinated: bool
    findings: list[Finding]
    refusal: Literal["none", "partial", "full"]
