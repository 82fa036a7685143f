"""Settings for the import of live questions."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.config.evaluation import RetrievalConfig
from insurance_rag.core.config_base import Config


class LiveQuestionsConfig(Config):
    """Settings for the import of questions and feedback from production."""

    retrieval: RetrievalConfig = RetrievalConfig()
    """The retriever that finds the chunk of a question."""
    min_score: float | None = None
    """Minimum score of the best chunk; below it, no chunk is found. None means 7 for `bm25`. The scores of other
    retrievers have other scales, so with them this setting is required."""
    near_duplicate: float = Field(default=0.7, gt=0, le=1)
    """Minimum similarity (3-grams) at which two questions with the same numbers count as one."""
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    """An answer with a lower confidence is uncertain."""
    negative_feedback: float = 0.0
    """Highest feedback score that counts as negative. With stars from 1 to 5, set it to 2."""
    n: int = Field(default=200, ge=1, title="Number of questions")
    """Maximum number of new evaluation questions. The questions asked most often come first."""
    target_questions: int = Field(default=3, ge=1)
    """Minimum number of live questions about a chunk that becomes a generation target."""
    pairs_per_question: float = Field(default=1.0, gt=0)
    """A chunk is a generation target if it has fewer generated pairs than this number times its live questions."""
    max_targets: int = Field(default=200, ge=1)
    """Maximum number of generation targets. The chunks that lack most pairs come first."""
