"""Records of the generation stage: generated pairs, journal entries, part files and their manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import QuestionType, Record
from insurance_rag.core.records.usage import Usage

OTHER_CHUNK_ID = "other_chunk_id"
"""Field in a row's metadata: id of the second chunk that the question needs."""


@dataclass(frozen=True)
class TeacherInfo:
    """Facts about a kind of teacher. Other code can read them without loading the teacher."""

    name: str
    title: str
    """One-line title for forms, reports and the reference documentation."""
    description: str
    key_variable: str | None = None
    """Environment variable that holds the API keys, separated by commas; None if the teacher uses no keys."""
    model_variable: str | None = None
    """Environment variable that holds the model name for plans that do not name a model."""
    key_required: bool = False
    """Whether a plan must have a key. If false, a plan without keys gets a placeholder key and thus a single shard."""
    default_prompt: str = "qa_v2"
    """Prompt file in generation/prompts that is used if the configuration does not name one."""
    supports_repair: bool = True
    """Whether pairs that break a rule may be requested a second time. Teachers that check their own pairs need no
    repair."""
    supports_packs: bool = True
    """Whether one call may ask about several chunks."""
    limits_requests: bool = True
    """Whether requests count as scarce before a quota is known. If not, chunks are packed only after a 429."""
    supports_batch: bool = False
    """Whether the teacher has an asynchronous batch mode."""
    required_packages: tuple[str, ...] = ()
    """Python packages that must be installed on the machine where the teacher runs."""


@dataclass(frozen=True)
class PairStyle:
    """The style that was planned for a pair (see `planning.question_plan.PlannedPair`); empty if none was planned."""

    persona: str = ""
    register: str = ""
    difficulty: str = ""
    form: str = ""


class PairRecord(Record):
    """A question-answer pair as the teacher wrote it."""

    type: QuestionType
    question: str
    answer: str
    evidence: str = Field(default="", description="verbatim quote from the chunk that supports the answer")
    style: PairStyle = Field(default=PairStyle(), description="style that was planned for the pair")


class FaultRecord(Record):
    """A fault that the teacher is asked to repair in its answer."""

    type: QuestionType
    reason: str = Field(description="name of the validation rule")
    span: str = Field(description="part of the pair that breaks the rule")
    pair: int | None = Field(default=None, description="index of the faulty pair; None if a pair is missing")


class TokenCount(Record):
    """Numbers of tokens in one request and its answer; 0 if the server does not count them."""

    tokens_in: int = 0
    tokens_out: int = 0


class AnswerMeta(Record):
    """Lineage of a chunk's first answer."""

    teacher: str
    model: str = Field(description="model that was asked")
    model_version: str = Field(default="", description="model that answered; empty if the server does not report it")
    prompt_version: str
    key_id: str
    at: str
    chunks_per_call: int = Field(default=1, description="number of chunks that the call asked about")


class RepairMeta(Record):
    """Lineage of a chunk's second answer."""

    repair_version: str
    key_id: str
    at: str


class RepairRecord(Record):
    """A chunk's second answer, or the reason why there is none."""

    pairs: list[PairRecord]
    usage: TokenCount
    meta: RepairMeta
    failed: str | None = Field(default=None, description="message of the error that ended the repair call")
    accepted: int = Field(default=0, description="number of `pairs` that the pair check found no fault in")


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
    """What the journal stores for a quarantined chunk, which is not retried. The journal's own fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    chunk_id: str
    reason: Literal["blocked", "request", "unreadable"]
    detail: str = Field(description="error message")


class PartArtifact(Artifact, Usage):
    """A complete part file (dataset_part_N.json), with the usage of its shard."""

    rows: int
    repaired: int = Field(description="number of rows that replace one with a fault")
    moved: dict[str, int] = Field(
        default={}, description="number of chunks that another key than `key_id` answered in this run, by that key's id"
    )
    helped: int = Field(default=0, description="number of chunks of other shards that `key_id` answered in this run")
    shard: int
    label: str
    key_id: str
    chunks: int
    plan_id: str
    pending_repairs: int = Field(description="number of chunks whose repair waits for quota or budget")
    quarantined: int = Field(description="number of chunks that are not requested again")


class PartManifest(PartArtifact):
    """Manifest of a part file. It is written last, so a part without a manifest is incomplete."""

    parents: list[Artifact]
    quarantined_chunks: list[QuarantinedChunk]

    def artifact(self) -> PartArtifact:
        """Return the manifest without `parents` and `quarantined_chunks`, which later stages do not need."""
        return PartArtifact.model_validate(self.model_dump(exclude={"parents", "quarantined_chunks"}))


class PartSummary(Artifact):
    """Summary of one part in the result for a whole run."""

    rows: int
    shard: int
    label: str
    chunks: int


class GenerationResult(Usage):
    """Result of the generation stage for a whole run."""

    uri: str = Field(description="absolute path of the folder that contains the parts")
    rows: int
    chunks: int
    repaired: int
    pending_repairs: int
    quarantined: int
    parts: list[PartSummary]


class BatchHandle(Record):
    """The batches that one shard submitted to batch mode."""

    shard: int
    batches: list[str] = Field(description="names of the batches on the server")
    chunks: int
