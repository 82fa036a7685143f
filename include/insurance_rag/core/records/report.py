"""The record of a rendered report."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.promotion import DecisionKind


class ReportArtifact(Artifact):
    """A report file."""

    questions: int = Field(description="questions with answers in the report")
    decision: DecisionKind | None = Field(description="decision of the promotion gate; None before it has decided")
    problems: list[str] = Field(description="files of the run folder that could not be read, and why")
