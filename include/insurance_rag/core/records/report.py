"""The record of a rendered report."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.promotion import DecisionKind


class ReportArtifact(Artifact):
    """A rendered report file and a summary of its content."""

    questions: int = Field(description="number of questions with answers in the report")
    decision: DecisionKind | None = Field(description="decision of the promotion gate; None if there is none yet")
    problems: list[str] = Field(description="files in the run folder that could not be read, with the reasons")
