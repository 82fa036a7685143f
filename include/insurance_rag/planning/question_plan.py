"""Plan which question-answer pairs to generate for a chunk, and in which style.

The plan depends only on the chunk's content and the prompt specification, so that a resumed run makes the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from insurance_rag.core.records import Chunk, QuestionType

if TYPE_CHECKING:
    from insurance_rag.planning.prompt_spec import PromptSpec


@dataclass(frozen=True)
class PlannedPair:
    """One pair that the teacher is asked to write."""

    type: QuestionType
    note: str = ""
    """Korean text that tells the teacher who asks, in which register, and in which form."""
    persona: str = ""
    register: str = ""
    difficulty: str = ""
    form: str = ""
    """`yes`, `no`, `calculation`, `two_chunks`, `near_miss`, or empty for an open question."""


def plan_pairs(spec: PromptSpec, chunk: Chunk) -> tuple[PlannedPair, ...]:
    """Return the pairs to generate for a chunk, in the order of the question types."""
    return tuple(PlannedPair(kind) for kind in spec.types for _ in range(spec.pairs_per_type))
