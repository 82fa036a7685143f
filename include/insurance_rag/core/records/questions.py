"""Records of the stage that makes evaluation questions: candidates, reports, checks and frozen sets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Question, Record

QuestionKind = Literal["fact", "scenario", "easy", "two_chunk", "near_miss", "far"]
QUESTION_KINDS: tuple[QuestionKind, ...] = ("fact", "scenario", "easy", "two_chunk", "near_miss", "far")

GoldStatus = Literal["unchanged", "changed", "broken", "moved", "gone"]
"""What a new edition of the chunks means for a question. changed: its chunk has another text, but still states the
answer. broken: its chunk no longer states the answer. moved: its chunk has another id. gone: its chunk does not exist
any more."""


class QuestionFinding(Record):
    """What one check found in a question."""

    check: str = Field(description="name of the check")
    detail: str = Field(description="what is wrong, e.g. the id of another chunk that answers the question")
    drops: bool = Field(description="whether the question must not be used")


class QuestionCandidate(Record):
    """A question that was made, with everything that decided about it. One line of Q.candidates.jsonl."""

    question: Question
    kind: QuestionKind
    evidence: str = Field(default="", description="verbatim quote from the chunk that supports the reference answer")
    rank: int | None = Field(default=None, description="rank of the gold chunk in a BM25 search; None if not found")
    findings: list[QuestionFinding] = Field(default_factory=list)
    kept: bool = False
    reason: str | None = Field(
        default=None, description="why it is not used: the name of a check, `near_duplicate`, or `not_needed`"
    )
    origin: Literal["teacher", "template", "previous", "live"] = "teacher"


class KindCounts(Record):
    """Numbers of questions of one kind."""

    planned: int = 0
    made: int = Field(default=0, description="number of candidates")
    dropped: dict[str, int] = Field(default_factory=dict, description="name of the check -> dropped candidates")
    kept: int = 0


class CheckedKind(Record):
    """Title and description of a check, for reports."""

    title: str
    title_ko: str
    description: str
    drops: bool


class QuestionsReport(Record):
    """Content of Q.report.json."""

    questions: int
    questions_sha256: str
    chunks_sha256: str
    chunk_file: str
    run: str
    kinds: dict[QuestionKind, KindCounts]
    documents: dict[str, int] = Field(description="document -> number of questions about it")
    asked_unit: Literal["document", "section"]
    asked_units: list[str] = Field(description="documents or sections that questions may be about")
    units_for_training: list[str] = Field(description="documents or sections that no question is about")
    not_first: int = Field(description="number of answerable questions whose chunk is not the first one found")
    not_found: int = Field(description="number of answerable questions whose chunk a search does not find")
    reported: dict[str, int] = Field(description="name of the check -> kept questions with a finding that only reports")
    kept_from_previous: int
    replaced: dict[str, str] = Field(description="id of a question of the previous set -> why it is not used any more")
    checks: dict[str, CheckedKind]
    gold_chunks: dict[str, str] = Field(description="id of each gold chunk -> hash of its text")
    settings: dict[str, object]
    warnings: list[str]


class QuestionsArtifact(Artifact):
    """A set of questions that was made, and a summary of its report."""

    questions: int
    questions_sha256: str
    kinds: dict[QuestionKind, KindCounts]
    run: str = Field(description="absolute path of the folder with the teacher's answers")
    calls: int = Field(description="number of calls that this command made")
    kept_from_previous: int
    report: str = Field(description="absolute path of Q.report.json")
    candidates: str = Field(description="absolute path of Q.candidates.jsonl")
    warnings: list[str]


class CheckedQuestion(Record):
    """One question of an existing set, after the checks."""

    question_id: str
    question: str
    kind: QuestionKind
    status: GoldStatus = "unchanged"
    changed_chunks: list[str] = Field(default_factory=list, description="ids of gold chunks that changed or are gone")
    proposed_gold: list[str] | None = Field(default=None, description="gold chunks in the new edition, if they moved")
    rank: int | None = None
    findings: list[QuestionFinding] = Field(default_factory=list)

    @property
    def flagged(self) -> bool:
        """Whether the new edition touches the question."""
        return self.status != "unchanged"

    @property
    def passes(self) -> bool:
        """Whether the question can be used as it is, or with its proposed gold chunks."""
        return self.status not in ("broken", "gone") and not any(finding.drops for finding in self.findings)


class QuestionsCheck(Record):
    """Content of Q.check.json."""

    questions_sha256: str
    chunks_sha256: str
    checks: dict[str, CheckedKind]
    questions: list[CheckedQuestion]


class QuestionsCheckArtifact(Artifact):
    """Result of `questions check`."""

    questions: int
    passed: int
    flagged: int = Field(description="number of questions that the new edition touches")
    statuses: dict[GoldStatus, int]
    dropped: dict[str, int] = Field(description="name of the check -> questions that it rejects")
    reported: dict[str, int] = Field(description="name of the check -> questions with a finding that only reports")
    kinds: dict[QuestionKind, int]


class FrozenSummary(Artifact):
    """Result of `questions freeze`."""

    questions: int
    questions_sha256: str
    kinds: dict[QuestionKind, int]
    chunks_sha256: str | None
    run: str | None = Field(description="folder with the teacher's answers")
    approved: int
    edited: int
    rejected: int
    undecided: int


class FrozenManifest(FrozenSummary):
    """Content of FROZEN.manifest.json, written after the set. Readers compare its hash with that of the set."""

    gold_chunks: dict[str, str] = Field(description="id of each gold chunk -> hash of its text")

    def summary(self) -> FrozenSummary:
        """Return the manifest without the hashes of the chunks."""
        return FrozenSummary.model_validate(self.model_dump(exclude={"gold_chunks"}))
