"""The question-answer pair that the simulator writes, and its record in GET /ground_truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from gemini_simulator.json_types import JsonObject


class GroundTruth(TypedDict):
    """One pair that the simulator answered with; `defect` names what is wrong with it, None for a good pair."""

    chunk_sha256: str
    type: str
    question: str
    answer: str
    defect: str | None


@dataclass(frozen=True)
class SimulatedPair:
    """One pair with its evidence: a verbatim quote of the chunk, empty for an unanswerable question."""

    type: str
    question: str
    answer: str
    evidence: str
    answerable: bool
    article: str
    omitted_field: str | None = None
    """Field that the answer leaves out on purpose."""
    defect: str | None = None
    """Name of the defect that was injected, None for a good pair."""

    def as_json(self) -> JsonObject:
        """Return the fields that the answer contains, in their order in the answer."""
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
        """Return the record of this pair for GET /ground_truth."""
        return {
            "chunk_sha256": chunk_sha256,
            "type": self.type,
            "question": self.question,
            "answer": self.answer,
            "defect": self.defect,
        }
