"""Correctness: whether an answer says what the question's reference answer says.

The checks compare an answer with its context. Correctness compares it with the reference, the required numbers and the
gold chunks of its question. docs/metrics.md describes the rules, with examples and limits.
"""

from __future__ import annotations

from insurance_rag.evaluation.correctness.assess import assess
from insurance_rag.evaluation.correctness.expected import Expected

__all__ = ["Expected", "assess"]
