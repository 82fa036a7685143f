"""Records of the validation and dataset stages: rows, report.json, and the artifact of a dataset folder."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from pydantic import Field, JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record


class QARow(TypedDict):
    """A validated question-answer pair as the dataset stage reads it. `QAPair` is its form in the part files."""

    chunk_id: str
    type: str
    instruction: str
    """The question."""
    input: str
    """Text of the chunk that the pair was generated from."""
    output: str
    """The answer."""
    evidence: str
    answerable: bool
    meta: dict[str, JsonValue]


class RejectedRow(QARow):
    """One line of rejects.jsonl."""

    reason: str
    """Name of the rule that dropped the row, or `balance`."""
    span: str
    """The text at fault."""
    shard: str
    repairable: bool
    """Whether a second answer of the teacher can fix this fault."""


class FormattedRow(TypedDict):
    """One row of a training file: a `QARow` in one prompt format."""

    text: str
    """Prompt, completion and the end-of-text token of the format."""
    prompt: str
    completion: str
    chunk_id: str
    type: str
    instruction: str
    input: str
    """The context that the prompt contains."""
    output: str
    evidence: str
    answerable: bool
    meta: NotRequired[dict[str, JsonValue]]
    context_chunk_ids: NotRequired[list[str]]
    """Chunks in the context, in order; only in formats with retrieved contexts."""


class RuleInfo(Record):
    """The definition of a validation rule, copied from the registry so that a report can be read without it."""

    title: str
    title_ko: str
    description: str
    repairable: bool
    """Whether a second answer of the teacher can fix this fault."""


class RowCounts(Record):
    """How many rows came in, how many were kept, and how many each rule dropped."""

    rows: int
    kept: int
    """Rows that passed every rule and cap, the held-out ones included."""
    drops: dict[str, int]
    """Rule (in the order in which they are applied), then `balance` -> rows."""


class RepairCounts(Record):
    """Rows that replace a faulty one, and how many of them passed the rules."""

    rows: int = 0
    kept: int = 0


class RepairSummary(RepairCounts):
    """The same, in total and by the fault of the replaced row."""

    by_reason: dict[str, RepairCounts] = Field(default_factory=dict)


class ContextCounts(Record):
    """Rows of the formats with retrieved contexts: how many have distractors, how many need a refusal."""

    unanswerable: int = 0
    """Rows whose context lacks the answer."""
    unanswerable_share: float = 0.0
    with_distractors: int = 0
    distractor_share: float = 0.0


class GroupBalance(Record):
    """The training rows of one type, company or product."""

    rows: int
    share: float
    top_up: int
    """Rows that would raise the group to the mean of all groups."""


class SplitSummary(Record):
    """What was kept out of the training files because of the evaluation questions."""

    documents: list[str] = Field(default_factory=list)
    """Held-out documents (`metadata.source`)."""
    leaking_chunks: list[str] = Field(default_factory=list)
    """Chunks of other documents that repeat a gold chunk."""
    questions_sha256: str | None = None
    """Hash of the evaluation questions; None if there were none."""


class RejectSample(Record):
    """A dropped row, shortened."""

    chunk_id: str
    type: str
    instruction: str
    output: str
    span: str
    """The text at fault."""


class DatasetLineage(Record):
    """What the dataset was made from."""

    chunks_sha256: str | None = None
    model: list[str] = Field(default_factory=list)
    """Teacher models of the kept rows."""
    prompt_version: list[str] = Field(default_factory=list)
    """Prompt versions of the kept rows."""
    data_sha256: str | None = None
    """Hash of the data files; equal hashes mean equal rows."""


class RankSummary(Record):
    """How well BM25 finds the chunk of a question. The figures are None if no question was searched."""

    questions: int = 0
    recall_at_1: float | None = None
    recall_at_5: float | None = None
    recall_at_10: float | None = None
    mrr_at_10: float | None = None
    """Mean reciprocal rank; ranks after 10 count as 0."""
    worst_rank: int | None = None


class CountChange(Record):
    """A count in the earlier report and in this one."""

    before: int
    now: int


class ShareChange(Record):
    """A share in the earlier report and in this one."""

    before: float
    now: float


class DatasetDrift(Record):
    """The difference to an earlier report."""

    rows: CountChange
    shares: dict[str, ShareChange]
    """`kept`, `drops.RULE`, `types.TYPE` -> shares."""
    notable: list[str]
    """Names of the shares that changed by more than five percentage points."""


class ValidationReport(RowCounts):
    """report.json of a dataset folder."""

    by_shard: dict[str, RowCounts]
    by_type: dict[str, RowCounts]
    rules: dict[str, RuleInfo] = Field(default_factory=dict)
    """Every configured rule, in the order in which they are applied."""
    training: int = 0
    held_out: int = 0
    repairable: int = 0
    """Dropped rows whose fault a second answer of the teacher can fix."""
    cleaned: dict[str, int] = Field(default_factory=dict)
    """Field -> rows in which control characters or decomposed Hangul were replaced."""
    repairs: RepairSummary = RepairSummary()
    files: dict[str, int] = Field(default_factory=dict)
    """Data file -> rows."""
    contexts: ContextCounts = ContextCounts()
    balance: dict[str, dict[str, GroupBalance]] = Field(default_factory=dict)
    """`type`, `company` or `product` -> group -> training rows."""
    split: SplitSummary = SplitSummary()
    samples: dict[str, list[RejectSample]] = Field(default_factory=dict)
    """Rule -> the first rows it dropped."""
    lineage: DatasetLineage = DatasetLineage()
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """The `ValidationConfig`."""
    retriever: RankSummary = RankSummary()
    drift: DatasetDrift | None = None
    """The difference to the previous dataset; None if no earlier report was given."""


class DatasetArtifact(Artifact):
    """A finished dataset folder."""

    rows: int
    """Generated rows."""
    kept: int
    files: dict[str, int]
    """Data file -> rows."""
    data_sha256: str
    """Hash of the data files. `sha256` also covers the report; this one changes only with the rows."""
    complete: bool = True
    """Whether every chunk of the run was answered or quarantined."""
    hub: str | None = Field(default=None, description="address of the uploaded data set")


class DatasetManifest(DatasetArtifact):
    """Manifest of a dataset folder. It is written last: a folder without a manifest is not complete."""

    parents: list[Artifact]
    """The part files."""
