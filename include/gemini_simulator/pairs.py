"""The question-answer pairs that the simulator writes, and their records in GET /ground_truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from gemini_simulator.json_types import JsonObject


class GroundTruth(TypedDict):
    """A pair that the simulator sent. `defect` is the name of the injected defect, or None."""

    chunk_sha256: str
    type: str
    question: str
    answer: str
    defect: str | None


@dataclass(frozen=True)
class SimulatedPair:
    """A question-answer pair.

    `evidence` is a verbatim quote from the chunk; it is empty if the question is unanswerable.
    """

    type: str
    question: str
    answer: str
    evidence: str
    answerable: bool
    article: str
    omitted_field: str | None = None
    """Name of a field that the JSON omits on purpose, or None."""
    defect: str | None = None
    """Name of the injected defect, or None."""

    def as_json(self) -> JsonObject:
        """Return the pair as it appears in the answer, without the omitted field."""
        fields: JsonObject = {
            "type": self.type,
            "question": self.question,
            "answer": self.answer,
            "evidence": self.evidence,
            "answerable": self.answerable,
            "article": self.article,
        }
        return {name: value for name, value in fields.items() if name != self.omitted_field}

    def ground_truth(self, chunk_sha256: str) -> GroundTruth:
        """Return this pair's record for GET /ground_truth."""
        return {
            "chunk_sha256": chunk_sha256,
            "type": self.type,
            "question": self.question,
            "answer": self.answer,
            "defect": self.defect,
        }
