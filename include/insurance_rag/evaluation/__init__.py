"""Base and adapters on the same questions: answers, checks with their evidence, paired statistics."""

from __future__ import annotations

from insurance_rag.evaluation.checks import check_answer
from insurance_rag.evaluation.run import evaluate

__all__ = ["check_answer", "evaluate"]
