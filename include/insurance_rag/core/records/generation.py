"""Records of the generation stage: generated pairs in the journal, part files and their manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import QuestionType, Record
from insurance_rag.core.records.usage import Usage


@dataclass(frozen=True)
class TeacherInfo:
    """What the product needs to know about a kind of teacher without loading it."""

    name: str
    title: str
    """One line for forms, reports and the reference documentation."""
    description: str
    key_variable: str | None = None
    """Environment variable with the API keys, separated by commas; None if the teacher has no keys."""
    model_variable: str | None = None
    """Environment variable with the model name for plans that name none."""
    key_required: bool = False
    """Whether a plan without a key is an error. Otherwise one placeholder key gives the plan one shard."""
    default_prompt: str = "qa_v1"
    """File of generation/prompts that is used if the configuration names none."""
    supports_repair: bool = True
    """Whether faulty pairs may be requested again. A teacher that checks its own pairs does not need it."""
    supports_batch: bool = False
    """Whether the asynchronous batch mode is available."""
    required_packages: tuple[str, ...] = ()
    """Python packages that must be installed where the teacher runs."""


class PairRecord(Record):
    """A generated question-answer pair, as a teacher wrote it."""

    type: QuestionType
    question: str
    answer: str
    evidence: str = Field(default="", description="verbatim quote of the chunk that supports the answer")


class FaultRecord(Record):
    """A fault of an answer that the teacher is asked to repair."""

    type: QuestionType
    reason: str = Field(description="name of the validation rule")
    span: str = Field(description="the text at fault")
    pair: int | None = Field(default=None, description="index of the faulty pair; None: no pair of this type exists")


class TokenCount(Record):
    """Tokens of one answer; 0 where the server does not count them."""

    tokens_in: int = 0
    tokens_out: int = 0


class AnswerMeta(Record):
    """Lineage of the first answer of a chunk."""

    teacher: str
    model: str
    prompt_version: str
    key_id: str
    at: str


class RepairMeta(Record):
    """Lineage of the second answer of a chunk."""

    repair_version: str
    key_id: str
    at: str


class RepairRecord(Record):
    """The second answer of a chunk, or why there is none."""

    pairs: list[PairRecord]
    usage: TokenCount
    meta: RepairMeta
    failed: str | None = Field(default=None, description="message of the error that the repair call ended with")


class AnswerRecord(Record):
    """What the journal stores for an answered chunk (states `answered` and `repairable`).

    The journal's own fields (key, state) are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    chunk_id: str
    pairs: list[PairRecord]
    usage: TokenCount
    meta: AnswerMeta
    faults: list[FaultRecord] = Field(default_factory=list)
    repair: RepairRecord | None = None


class QuarantinedChunk(Record):
    """What the journal stores for a chunk that no run asks for again. The journal's own fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    chunk_id: str
    reason: Literal["blocked", "request", "unreadable"]
    detail: str = Field(description="message of the error")


class PartArtifact(Artifact, Usage):
    """A complete part file (dataset_part_N.json) and what its shard used."""

    rows: int
    repaired: int = Field(description="rows that replace a faulty one")
    shard: int
    label: str
    key_id: str
    chunks: int
    plan_id: str
    pending_repairs: int = Field(description="chunks whose faulty pairs were not requested again (quota or budget)")
    quarantined: int = Field(description="chunks that no run asks for again")


class PartManifest(PartArtifact):
    """Manifest of a part file. It is written last: a part without a manifest is not complete."""

    parents: list[Artifact]
    quarantined_chunks: list[QuarantinedChunk]

    def artifact(self) -> PartArtifact:
        """Return the facts that later stages need, without the lists."""
        return PartArtifact.model_validate(self.model_dump(exclude={"parents", "quarantined_chunks"}))


class PartSummary(Artifact):
    """One part in the result of a whole run."""

    rows: int
    shard: int
    label: str
    chunks: int


class GenerationResult(Usage):
    """Result of the generation of a whole run."""

    uri: str = Field(description="absolute path of the folder with the parts")
    rows: int
    chunks: int
    repaired: int
    pending_repairs: int
    quarantined: int
    parts: list[PartSummary]


class BatchHandle(Record):
    """The batches of one shard that were submitted to batch mode."""

    shard: int
    batches: list[str] = Field(description="names of the batches on the server")
    chunks: int
