"""Records of the validation and dataset stages: rows, report.json, and the artifact for a dataset folder."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from pydantic import Field, JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record
from insurance_rag.core.records.split import SplitSummary
from insurance_rag.core.records.style import StyleSummary


class QARow(TypedDict):
    """A question-answer pair after validation, as the dataset stage reads it. Part files contain `QAPair` records."""

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
    """Name of the rule that dropped the row, or `balance` if a cap left the row out."""
    span: str
    """Part of the row that breaks the rule."""
    shard: str
    repairable: bool
    """Whether a second answer from the teacher could fix this fault."""


class FormattedRow(TypedDict):
    """One row of a training file: a `QARow` in a prompt format."""

    text: str
    """Prompt and completion, followed by the end-of-text token if the prompt format has one."""
    prompt: str
    completion: str
    chunk_id: str
    type: str
    instruction: str
    input: str
    """Texts of the chunks in the context."""
    context: str
    """Context as it appears in the prompt, including chunk headers."""
    output: str
    evidence: str
    answerable: bool
    meta: NotRequired[dict[str, JsonValue]]
    context_chunk_ids: NotRequired[list[str]]
    """Ids of the chunks in the context, in order. Only present in formats with retrieved contexts."""


PreferenceKind = Literal[
    "false_refusal",
    "hedge",
    "missed_refusal",
    "number",
    "negation",
    "roles",
    "comparator",
    "article",
    "prompt_echo",
    "repair",
]
"""What is wrong with the worse answer of a preference pair. `dataset/preferences.py` explains each kind."""


class PreferenceRow(TypedDict):
    """One preference pair: a prompt with a better and a worse answer."""

    prompt: str
    chosen: str
    rejected: str
    kind: PreferenceKind
    chunk_id: str
    type: str
    instruction: str
    input: str
    context: str
    evidence: str
    answerable: bool


class VerifierRow(TypedDict):
    """One row for training a verifier: a prompt that shows an answer, and whether the policy supports the answer."""

    prompt: str
    completion: str
    chunk_id: str
    type: str
    kind: str
    """`right`, `other_context` for a right answer with chunks that do not support it, or the name of a fault."""
    label: Literal["supported", "unsupported"]
    answer: str
    wrong: list[str]
    """The parts of the answer that are wrong; empty for right answers."""


class RuleInfo(Record):
    """Definition of a validation rule, copied from the registry so that a report can be read without the registry."""

    title: str
    title_ko: str
    description: str
    repairable: bool
    """Whether a second answer from the teacher could fix a row that breaks this rule."""


class RowCounts(Record):
    """Number of input rows, of kept rows, and of rows that each rule dropped."""

    rows: int
    kept: int
    """Number of rows that passed every rule and cap, including held-out rows."""
    drops: dict[str, int]
    """Rule -> number of rows that it dropped. Rules are in the order in which they are applied, then `balance`."""


class RepairCounts(Record):
    """Counts of repaired rows. Each repaired row replaces a faulty row."""

    rows: int = 0
    """Number of repaired rows."""
    kept: int = 0
    """Number of repaired rows that passed all rules."""


class RepairSummary(RepairCounts):
    """Counts of repaired rows, in total and by rule."""

    by_reason: dict[str, RepairCounts] = Field(default_factory=dict)
    """Rule that the original rows broke -> counts of their repaired versions."""


class ReviewCounts(Record):
    """What people decided about the rows on the review pages, in number of rows."""

    approved: int = 0
    edited: int = 0
    """Rows that a person edited. The rules apply to the edited rows as well."""
    rejected: int = 0
    overruled: int = 0
    """Approved rows that were kept although a rule would have dropped them."""
    records: int = 0
    """Number of records in the journal of decisions when the dataset was made."""


class ContextCounts(Record):
    """Counts of rows with retrieved contexts, by the content of the context."""

    unanswerable: int = 0
    """Number of rows whose context does not contain the answer."""
    unanswerable_share: float = 0.0
    with_distractors: int = 0
    distractor_share: float = 0.0
    evidence_cut: int = 0
    """Number of rows left out of a prompt format because its length limit would cut off the evidence."""
    overlap_auc: float | None = None
    """How well the words that question and context share predict a refusal: 0.5 not at all, 1 perfectly."""


class KindCounts(Record):
    """Number of rows by kind in a training file and in its held-out file."""

    training: dict[str, int] = Field(default_factory=dict)
    heldout: dict[str, int] = Field(default_factory=dict)


class GroupBalance(Record):
    """Number and fraction of training rows for one question type, company or product."""

    rows: int
    share: float
    top_up: int
    """Number of additional rows that would bring the group up to the mean size of all groups."""


class RejectSample(Record):
    """A dropped row, with long fields shortened."""

    chunk_id: str
    type: str
    instruction: str
    output: str
    span: str
    """Part of the row that breaks the rule."""


class DatasetLineage(Record):
    """What the dataset was made from."""

    chunks_sha256: str | None = None
    model: list[str] = Field(default_factory=list)
    """Names of the teacher models that generated the kept rows."""
    rows_by_model: dict[str, int] = Field(default_factory=dict)
    """Teacher model -> number of kept rows that it generated."""
    prompt_version: list[str] = Field(default_factory=list)
    """Versions of the prompts that the kept rows were generated with."""
    data_sha256: str | None = None
    """Hash of the data files. Equal hashes mean equal rows."""


class RankSummary(Record):
    """How well a BM25 search for a question finds the right chunk. All other fields are None if `questions` is 0."""

    questions: int = 0
    """Number of questions that were searched for."""
    recall_at_1: float | None = None
    recall_at_5: float | None = None
    recall_at_10: float | None = None
    mrr_at_10: float | None = None
    """Mean reciprocal rank, where a rank after 10 counts as 0."""
    worst_rank: int | None = None


class CountChange(Record):
    """A count in an earlier report and in this one."""

    before: int
    now: int


class ShareChange(Record):
    """A fraction in an earlier report and in this one."""

    before: float
    now: float


class DatasetDrift(Record):
    """Changes since an earlier report."""

    rows: CountChange
    shares: dict[str, ShareChange]
    """Name (`kept`, `drops.RULE` or `types.TYPE`) -> fraction of the rows, before and now."""
    notable: list[str]
    """Names of the fractions that changed by more than five percentage points."""


class ValidationReport(RowCounts):
    """Content of report.json in a dataset folder."""

    by_shard: dict[str, RowCounts]
    by_type: dict[str, RowCounts]
    rules: dict[str, RuleInfo] = Field(default_factory=dict)
    """Definition of every configured rule by name, in the order in which the rules are applied."""
    training: int = 0
    held_out: int = 0
    repairable: int = 0
    """Number of dropped rows that a second answer from the teacher could fix."""
    cleaned: dict[str, int] = Field(default_factory=dict)
    """Field -> number of rows in which control characters or decomposed Hangul were replaced in that field."""
    repairs: RepairSummary = RepairSummary()
    reviews: ReviewCounts = ReviewCounts()
    files: dict[str, int] = Field(default_factory=dict)
    """Data file -> number of rows."""
    contexts: ContextCounts = ContextCounts()
    preferences: KindCounts = KindCounts()
    """Preference pairs by what is wrong with the worse answer."""
    verifier: KindCounts = KindCounts()
    """Rows for a verifier by fault."""
    balance: dict[str, dict[str, GroupBalance]] = Field(default_factory=dict)
    """`type`, `company` or `product` -> one of its values -> number and fraction of training rows with that value."""
    style: StyleSummary = StyleSummary()
    split: SplitSummary = SplitSummary()
    samples: dict[str, list[RejectSample]] = Field(default_factory=dict)
    """Rule -> the first rows that it dropped."""
    lineage: DatasetLineage = DatasetLineage()
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """The `ValidationConfig` that was used."""
    retriever: RankSummary = RankSummary()
    drift: DatasetDrift | None = None
    """Changes since the previous dataset; None if no earlier report was given."""


class DatasetArtifact(Artifact):
    """A finished dataset folder."""

    rows: int
    """Number of generated rows."""
    kept: int
    files: dict[str, int]
    """Data file -> number of rows."""
    data_sha256: str
    """Hash of the data files. It changes only if the rows change, whereas `sha256` also covers the report."""
    complete: bool = True
    """Whether every chunk of the run was answered or quarantined."""
    hub: str | None = Field(default=None, description="address of the uploaded dataset on the Hugging Face Hub")


class DatasetManifest(DatasetArtifact):
    """Manifest of a dataset folder. It is written last, so a folder without a manifest is incomplete."""

    parents: list[Artifact]
    """Part files that the dataset was made from."""
